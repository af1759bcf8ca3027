package verify_test

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/hub/hubtest/generate"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/verify"
)

// verdicts are the checks of a result, without how many things were looked at.
func verdicts(r *verify.Result) []string {
	var lines []string
	for _, c := range r.Checks {
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %s %s %s", c.Status, c.Name, c.Tag, c.Arch), " "))
	}
	return lines
}

// failing is a hub with one method that does not work.
type failing struct {
	name string
	opts func(method string) hubtest.Options
	says string // is in the reason
}

var failings = []failing{
	{"fault", func(method string) hubtest.Options {
		return hubtest.Options{Fault: func(called string, _ []any) *hubtest.Fault {
			if called == method {
				return &hubtest.Fault{Code: 1, Class: "psycopg2.errors.UndefinedTable", Text: "relation \"x\" does not exist\nLINE 1"}
			}
			return nil
		}}
	}, "does not exist"},
	{"control character", func(method string) hubtest.Options {
		return hubtest.Options{Tamper: func(called string, body []byte) []byte {
			if called == method {
				return bytes.Replace(body, []byte("<value>"), []byte("<value><string>\x01</string></value><value>"), 1)
			}
			return body
		}}
	}, "byte"},
	{"cut off", func(method string) hubtest.Options {
		return hubtest.Options{Tamper: func(called string, body []byte) []byte {
			if called == method {
				return body[:len(body)/2]
			}
			return body
		}}
	}, "EOF"},
}

// One call that does not work is one failed check with the reason, for each tag that it is about, and
// all other checks are made as ever.
func TestVerifyFaults(t *testing.T) {
	tags := []string{"f42-compose", "f43-build"}
	s := newStaging(t, pulltest.NewSource(t, tags...), signed)
	verified := func(t *testing.T, change func(*verify.Options)) *verify.Result {
		return s.verify(t, func(o *verify.Options) {
			o.Want = signed
			change(o)
		})
	}
	baseline := verdicts(verified(t, func(*verify.Options) {}))
	ofRPMs := []string{"rpms", "signatures", "unsigned", "files", "sources", "placement", "targets", "repo", "links", "room"}
	for i, test := range []struct {
		method string
		fail   []string // checks; % is each tag
		gone   []string // checks that are not made then, or are told as one
		multi  bool     // asked in multicalls
		side   string   // production's
	}{
		{method: "getUser", fail: []string{"hub"}},
		{method: "getTag", fail: []string{"tag %", "hidden %", "content tags f42-compose"}, multi: true},
		{method: "getFullInheritance", fail: []string{"inheritance %"}},
		{method: "listTaggedRPMS", fail: []string{"rpms %"}, gone: ofRPMs},
		{method: "getTagExternalRepos", fail: []string{"external repos %"}, multi: true},
		{method: "listTagged", fail: []string{"hidden %", "modules %"}, gone: []string{"content tags", "module files"}},
		{method: "getBuildConfig", fail: []string{"arches %"}},
		{method: "getChannel", fail: []string{"channel createrepo", "channel compose"}},
		{method: "listHosts", fail: []string{"channel createrepo"}},
		{method: "getBuildTargets", fail: []string{"targets"}, gone: []string{"targets", "repo"}},
		{method: "getRepo", fail: []string{"repo f43-build"}, multi: true},
		{method: "listArchives", fail: []string{"module archives f42-compose"}, gone: []string{"module files"}, multi: true},
		{method: "getBuild", fail: []string{"content tags f42-compose"}, multi: true},
		{method: "getTag", fail: []string{"tag %"}, gone: []string{"*"}, side: "production's"},
		{method: "getFullInheritance", fail: []string{"inheritance %"}, side: "production's"},
		{method: "listTaggedRPMS", fail: []string{"rpms %"}, gone: []string{"rpms", "signatures"}, side: "production's"},
		{method: "getTagExternalRepos", fail: []string{"external repos %"}, multi: true, side: "production's"},
		{method: "listTagged", fail: []string{"modules %"}, side: "production's"},
	} {
		for k, how := range failings {
			if test.multi && how.name != "fault" {
				continue // it would be all calls of the multicall
			}
			if !test.multi && !seedtest.Long() && k != i%len(failings) {
				continue // each method does not work in one way, and each way is of several methods
			}
			t.Run(strings.TrimSpace(test.side+" "+test.method)+" "+how.name, func(t *testing.T) {
				bad := pulltest.Client(t, hubtest.New(s.rows, how.opts(test.method)))
				r := verified(t, func(o *verify.Options) {
					if test.side == "" {
						o.Hub = bad
					} else {
						o.Against = bad
					}
				})
				want := map[string]bool{}
				for _, line := range test.fail {
					for _, tag := range append(tags, generate.ContentTag) {
						want["failed "+strings.Replace(line, "%", tag, 1)] = true
					}
				}
				got := verdicts(r)
				for _, line := range got {
					if strings.HasPrefix(line, "failed") && !want[line] {
						t.Errorf("%s", line)
					}
					delete(want, line)
				}
				for line := range want {
					t.Errorf("no %s", line)
				}
				for _, c := range r.Checks {
					if reason := c.Detail + strings.Join(c.Examples, " "); c.Status == verify.StatusFailed &&
						(!strings.Contains(reason, how.says) || !strings.Contains(reason, cmp.Or(test.side, "staging's")+" hub: ") || strings.Contains(reason, "\n")) {
						t.Errorf("%s %s says %q", c.Name, c.Tag, reason)
					}
				}
				for _, line := range baseline {
					name := strings.SplitN(line, " ", 2)[1]
					lost := func(start string) bool { return start == "*" || strings.HasPrefix(name, start) }
					failed := func(start string) bool { return strings.HasPrefix(name, strings.Split(start, " %")[0]) }
					if !slices.Contains(got, line) && !slices.ContainsFunc(test.gone, lost) && !slices.ContainsFunc(test.fail, failed) {
						t.Errorf("not made: %s", line)
					}
				}
				if r.Ready() {
					t.Error("ready")
				}
			})
		}
	}
}

// A tag that cannot be asked leaves the others as they are.
func TestVerifyFaultOfOneTag(t *testing.T) {
	s := newStaging(t, pulltest.NewSource(t, "f42-compose", "f43-build"), compose.Want{})
	of := func(r *verify.Result) (lines []string) {
		for _, c := range r.Checks {
			if c.Tag == "f43-build" {
				lines = append(lines, show([]verify.Check{c}))
			}
		}
		return lines
	}
	before := of(s.verify(t, nil))
	const compose = 10
	bad := pulltest.Client(t, hubtest.New(s.rows, hubtest.Options{Fault: func(_ string, args []any) *hubtest.Fault {
		if len(args) > 0 && (fmt.Sprint(args[0]) == fmt.Sprint(compose) || args[0] == "f42-compose") {
			return &hubtest.Fault{Code: 1, Class: "KeyError", Text: "extra"}
		}
		return nil
	}}))
	r := s.verify(t, func(o *verify.Options) { o.Hub = bad })
	if after := of(r); !slices.Equal(after, before) || len(before) < 10 {
		t.Errorf("f43-build:\n%s\nwas\n%s", after, before)
	}
	for _, name := range []string{"tag", "inheritance", "rpms", "hidden", "modules"} {
		if c := check(t, r, name, "f42-compose", ""); c.Status != verify.StatusFailed || !strings.Contains(c.Detail, "fault 1: ") {
			t.Errorf("got %s", show([]verify.Check{c}))
		}
	}
}

// A hub that goes away is an error that says so: nothing is found out then. One that comes back is asked
// again for what was cut off.
func TestVerifyHubGone(t *testing.T) {
	tag := "f42-infra" // of few builds
	if seedtest.Long() {
		tag = "f42-compose"
	}
	s := newStaging(t, pulltest.NewSource(t, tag), compose.Want{})
	count := &hubtest.Options{}
	requests := atomic.Int64{}
	count.Offline = func() string { requests.Add(1); return "" }
	s.verify(t, func(o *verify.Options) { o.Hub = pulltest.Client(t, hubtest.New(s.rows, *count)) })
	all := requests.Load()
	if all < 15 {
		t.Fatalf("%d requests", all)
	}
	var places []int64 // after how many requests the hub is gone
	for after := range all {
		places = append(places, after)
	}
	for _, after := range seedtest.Some(places, 7) {
		var asked atomic.Int64
		offline := hubtest.New(s.rows, hubtest.Options{Offline: func() string {
			if asked.Add(1) > after {
				return "database outage"
			}
			return ""
		}})
		_, err := verify.Verify(t.Context(), verify.Options{Hub: pulltest.Client(t, offline), Snapshot: s.snap, Topdir: s.top})
		if err == nil || !hub.Temporary(err) || !strings.Contains(err.Error(), "database outage") || strings.Contains(err.Error(), "\n") {
			t.Errorf("offline after %d of %d requests: %v", after, all, err)
		}
	}
	for _, after := range seedtest.Some(places, 7) {
		var asked atomic.Int64
		cut := hubtest.New(s.rows, hubtest.Options{Tamper: func(_ string, body []byte) []byte {
			if asked.Add(1) == after+1 {
				return body[:len(body)-30]
			}
			return body
		}})
		c := pulltest.ClientWith(t, cut, hub.Options{Retries: 1, RetryInterval: time.Millisecond})
		if r := s.verify(t, func(o *verify.Options) { o.Hub = c }); !r.Ready() {
			t.Errorf("reply %d of %d cut off once:\n%s", after+1, all, s.notOK(r))
		}
	}
}

// A row that does not fit the others is one bad row: all else is looked at.
func TestVerifyOddRows(t *testing.T) {
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), compose.Want{})
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, s *staging)
		tamper func(method string, body []byte) []byte
		not    string
	}{
		{name: "rpm without its build", tamper: func(method string, body []byte) []byte {
			if method != "listTaggedRPMS" {
				return body
			}
			return bytes.Replace(body, []byte("<name>build_id</name>\n<value><int>8</int>"), []byte("<name>build_id</name>\n<value><int>77777</int>"), 1)
		}, not: `failed rpms f42-compose: 1 of 1, 0 digests
  bash-5.3.0-2.fc42.src: staging's hub lists it, but not its build 77777
failed rpms f42-compose src: 1 of 44, 0 digests
  bash-5.3.0-2.fc42.src: only in production
warning sources f42-compose: 1 of 43, 0 digests
  bash-5.3.0-2.fc42: has no source rpm
`},
		{name: "payloadhash is none", damage: func(t *testing.T, s *staging) {
			s.update(t, "rpminfo", hubtest.Values{"id": 53}, hubtest.Values{"payloadhash": "zz"})
		}, not: `failed rpms f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: epoch none, payloadhash zz, size 6439, build bash-5.3.0-2.fc42; in production epoch none, payloadhash de989233838da9ee326f2977d37cefa5, size 6439, build bash-5.3.0-2.fc42
failed files f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: the database's payloadhash: "zz" is not a digest of 32 hex digits: what the file holds cannot be checked
`},
		{name: "unknown checksum of a modulemd", damage: func(t *testing.T, s *staging) {
			s.update(t, "archiveinfo", hubtest.Values{"filename": "modulemd.txt"}, hubtest.Values{"checksum_type": 9})
		}, not: `failed module files f42-compose: 1 of 2, 0 digests
  postgresql-stream-16-4220250401.abcdef12: files/module/modulemd.txt: checksum type 9 is unknown
`},
		{name: "no checksum of a modulemd", damage: func(t *testing.T, s *staging) {
			s.update(t, "archiveinfo", hubtest.Values{"filename": "modulemd.txt"}, hubtest.Values{"checksum": ""})
		}, not: `failed module files f42-compose: 1 of 2, 0 digests
  postgresql-stream-16-4220250401.abcdef12: files/module/modulemd.txt: the database's checksum is "", which is no md5: what the file holds cannot be checked
`},
		{name: "unsafe name of a modulemd", damage: func(t *testing.T, s *staging) {
			s.update(t, "archiveinfo", hubtest.Values{"filename": "modulemd.txt"}, hubtest.Values{"filename": "modulemd.../../x\n.txt"})
		}, not: `failed module files f42-compose: 1 of 2, 0 digests
  postgresql-stream-16-4220250401.abcdef12: unsafe archive file name "modulemd.../../x\n.txt": contains a slash
`},
		{name: "control character in a module's extra", damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": 60}, hubtest.Values{"extra": `{"typeinfo": {"module": {"content_koji_tag": "a\u0001b"}}}`})
		}, not: `failed content tags f42-compose: 1 of 1, 0 digests
  postgresql-stream-16-4220250401.abcdef12: staging's hub: call getBuild: reply of getBuild, byte 1022: character U+0001, which XML does not allow
`},
		{name: "hostile version of a module", damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": 60}, hubtest.Values{"version": "../../etc"})
		}, not: `failed modules f42-compose: 2 of 1, 0 digests
  postgresql-stream-../../etc-4220250401.abcdef12: only in staging
  postgresql-stream-16-4220250401.abcdef12: only in production
failed module files f42-compose: 1 of 1, 0 digests
  postgresql-stream-../../etc-4220250401.abcdef12: build "postgresql-stream-../../etc-4220250401.abcdef12": unsafe build version "../../etc": contains a slash
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := s.clone(t)
			if test.damage != nil {
				test.damage(t, s)
			}
			s.hub = pulltest.Client(t, hubtest.New(s.rows, hubtest.Options{Tamper: test.tamper}))
			if got := s.notOK(s.verify(t, nil)); got != test.not {
				t.Errorf("got\n%swant\n%s", got, test.not)
			}
		})
	}
}

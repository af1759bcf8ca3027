package pull_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/relation"
)

// goodBuilds returns the builds tagged in badTag's scope, in the order in which they are asked for.
func goodBuilds(t *testing.T) []int64 {
	t.Helper()
	c, _ := pulltest.Production(t, hubtest.Options{})
	var ids []int64
	at := relation.Get("tag_listing").Index("build_id")
	for _, row := range pulltest.SnapshotRows(t, pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, badTag), "tag_listing") {
		ids = append(ids, number(strings.Split(row, "\t")[at]))
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// faulty raises a fault for some calls of a method with a number as their first argument.
type faulty struct {
	mu     sync.Mutex
	method string
	id     int64
	fault  *hubtest.Fault
	times  int // how often; negative: always
	raised int
}

func (f *faulty) raise(method string, args []any) *hubtest.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if method != f.method || len(args) == 0 || fmt.Sprint(args[0]) != fmt.Sprint(f.id) || f.times == 0 {
		return nil
	}
	f.times--
	f.raised++
	return f.fault
}

var (
	offlineFault = &hubtest.Fault{Code: 1014, Class: "koji.ServerOffline", Text: "database outage"}
	genericFault = &hubtest.Fault{Code: 1000, Class: "koji.GenericError", Text: "No such thing"}
	otherFault   = &hubtest.Fault{Code: 1, Class: "psycopg2.errors.QueryCanceled", Text: "canceling statement"}
	loginFault   = &hubtest.Fault{Code: 1004, Class: "koji.ActionNotAllowed", Text: "permission denied"}
	retryFault   = &hubtest.Fault{Code: 1009, Class: "koji.RetryError", Text: "unable to retry call 7"}
)

// TestPullFaultInMulticall: one call of a multicall faults, the first, a middle or the last one. A temporary
// fault is asked again. A fault of the hub ends the pull and names the call and the fault. A fault of one
// build leaves only that build out, with the same words.
func TestPullFaultInMulticall(t *testing.T) {
	t.Parallel()
	builds := goodBuilds(t)
	if len(builds) < 3 {
		t.Fatalf("%d builds", len(builds))
	}
	places := map[string]int64{"first": builds[0], "middle": builds[len(builds)/2], "last": builds[len(builds)-1]}
	for place, id := range places {
		methods := []string{"getBuild"}
		if place == "middle" {
			methods = append(methods, "getBuildType", "listRPMs")
		}
		for _, method := range methods {
			t.Run(fmt.Sprint(place, " ", method, " offline, then back"), func(t *testing.T) {
				f := &faulty{method: method, id: id, fault: offlineFault, times: 3}
				p, _ := badHub(t, hubtest.Options{Fault: f.raise})
				badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.good(t)
				if f.raised != 3 {
					t.Errorf("raised %d times", f.raised)
				}
			})
		}
		for _, test := range []struct {
			fault     *hubtest.Fault
			says      []string
			temporary bool
		}{
			{offlineFault, []string{fmt.Sprintf("getBuild(%d)", id), "the hub is offline: fault 1014: database outage"}, true},
			{loginFault, []string{fmt.Sprintf("getBuild(%d): fault 1004: permission denied", id)}, false},
			{retryFault, []string{fmt.Sprintf("getBuild(%d): fault 1009: unable to retry call 7", id)}, false},
		} {
			t.Run(fmt.Sprint(place, " fault ", test.fault.Code), func(t *testing.T) {
				f := &faulty{method: "getBuild", id: id, fault: test.fault, times: -1}
				p, _ := badHub(t, hubtest.Options{Fault: f.raise})
				err := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.bad(t, test.says...)
				if hub.Temporary(err) != test.temporary {
					t.Errorf("temporary %v: %v", hub.Temporary(err), err)
				}
			})
		}
	}
}

// TestPullFaultOfOneBuild: calls for one build always fail. That build, or its rows of one kind, are left
// out, and everything else is there. If the calls fail for all builds, the hub is at fault.
func TestPullFaultOfOneBuild(t *testing.T) {
	t.Parallel()
	c, _ := pulltest.Production(t, hubtest.Options{})
	good := allRows(t, pulltest.Pull(t, c, pulltest.NewStore(t), pulltest.LastEvent, badTag))
	build := goodBuilds(t)[1]
	id := fmt.Sprint(build)
	rpms := good.with("rpminfo", "build_id", id)
	for method, test := range map[string]struct {
		left string
		want func() rowsByRelation
	}{
		"getBuild": {"build build " + id + " ", func() rowsByRelation { return good.without(map[string][]string{"build": {id}}) }},
		"getBuildType": {"build_types build " + id + " ", func() rowsByRelation {
			return good.drop("build_types", "build_id", id).drop("image_builds", "build_id", id)
		}},
		"listRPMs": {"rpminfo build " + id + " ", func() rowsByRelation {
			gone := map[string][]string{}
			for _, r := range rpms {
				gone["rpminfo"] = append(gone["rpminfo"], r[0])
			}
			return good.without(gone)
		}},
	} {
		for _, fault := range []*hubtest.Fault{genericFault, otherFault} {
			t.Run(fmt.Sprint(method, " ", fault.Code), func(t *testing.T) {
				f := &faulty{method: method, id: build, fault: fault, times: -1}
				h := hubtest.Options{Fault: func(called string, args []any) *hubtest.Fault {
					if called == "listTaggedRPMS" { // the other way to the same rows
						return fault
					}
					return f.raise(called, args)
				}}
				p, _ := badHub(t, h)
				r, snap := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.open(t)
				if left := leftOut(snap.Manifest); !slices.Equal(left, []string{test.left}) {
					t.Fatalf("left out: %q, want %q", left, test.left)
				}
				if says := fmt.Sprintf("%s(%d): fault %d: ", method, build, fault.Code); !strings.Contains(r.LeftOut[0].Reason, says) || !strings.Contains(r.LeftOut[0].Reason, fault.Text) {
					t.Errorf("%q does not say %q", r.LeftOut[0].Reason, says)
				}
				test.want().hold(t, allRows(t, snap))
				f = &faulty{method: method, id: build, fault: fault, times: 1}
				p, _ = badHub(t, hubtest.Options{Fault: f.raise})
				badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.good(t)
				p, _ = badHub(t, hubtest.Options{Fault: func(called string, args []any) *hubtest.Fault {
					if called == method || called == "listTaggedRPMS" {
						return fault
					}
					return nil
				}})
				if err := (badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}).bad(t, "fault", fault.Text, ": the same holds for "); hub.Temporary(err) {
					t.Errorf("temporary: %v", err)
				}
			})
		}
	}
}

// TestPullTooMuch has too many odd rows for single faults, or a hub whose database fails.
func TestPullTooMuch(t *testing.T) {
	t.Parallel()
	p, rows := badHub(t, hubtest.Options{})
	builds := goodBuilds(t)
	if n, err := rows.Update("rpminfo", hubtest.Values{"arch": "src"}, hubtest.Values{"payloadhash": "\x01"}); n < 20 || err != nil {
		t.Fatal(n, err)
	}
	b := badPull{client: through(t, p, eager), store: pulltest.NewStore(t), opt: pull.Options{Tags: []string{"f42"}}}
	b.bad(t, "rpminfo.payloadhash: character U+0001", "the same holds for ", " rows of rpminfo: too many to leave out")
	if left, err := b.store.List(t.Context(), "pulls/"); err != nil || len(left) > 0 {
		t.Errorf("%d parts stay, %v", len(left), err)
	}
	f := &faulty{method: "getBuild", id: builds[0], times: -1, fault: &hubtest.Fault{Code: 1, Class: "psycopg2.OperationalError", Text: "server closed the connection unexpectedly"}}
	p, _ = badHub(t, hubtest.Options{Fault: func(method string, args []any) *hubtest.Fault {
		if method == "getAPIVersion" || method == "getBuild" {
			return f.fault
		}
		return nil
	}})
	if err := (badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}).bad(t, "server closed the connection unexpectedly"); !hub.Temporary(err) {
		t.Errorf("not temporary: %v", err)
	}
}

// TestPullFaultOfInheritance has faults in the only multicall whose results are not streamed.
func TestPullFaultOfInheritance(t *testing.T) {
	t.Parallel()
	var tag int64
	for _, r := range readTSV(t, "tag") {
		if r["name"] == badTag {
			tag = number(r["id"])
		}
	}
	f := &faulty{method: "getInheritanceData", id: tag, fault: offlineFault, times: 3}
	p, _ := badHub(t, hubtest.Options{Fault: f.raise})
	badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.good(t)
	if f.raised != 3 {
		t.Errorf("raised %d times", f.raised)
	}
	// This is Koji's answer about a tag that was deleted meanwhile.
	f = &faulty{method: "getInheritanceData", id: tag, times: -1,
		fault: &hubtest.Fault{Code: 1000, Class: "koji.GenericError", Text: fmt.Sprintf("No such tagInfo: %d", tag)}}
	p, _ = badHub(t, hubtest.Options{Fault: f.raise})
	err := badPull{client: through(t, p, eager), store: pulltest.NewStore(t)}.bad(t,
		fmt.Sprintf("inheritance of tag %d: getInheritanceData(%d, 419): fault 1000: No such tagInfo: %d", tag, tag, tag))
	if hub.Temporary(err) {
		t.Errorf("temporary: %v", err)
	}
}

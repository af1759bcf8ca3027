package verify_test

import (
	"strings"
	"testing"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub/hubtest"
	"kojisnap/kojisnap/pull/pulltest"
	"kojisnap/kojisnap/verify"
)

func (s *staging) delete(t testing.TB, table string, where hubtest.Values) {
	t.Helper()
	n, err := s.rows.Delete(table, where)
	pulltest.Must(t, err)
	if n == 0 {
		t.Fatalf("no row of %s has %v", table, where)
	}
}

// Each thing that staging's database can have wrong is found, and nothing else, against a
// snapshot as against production's hub. Files are not looked at.
func TestVerifyRows(t *testing.T) {
	const composeTag, bashBuild, bashRPM = 10, 8, 53 // ids of f42-compose, bash-5.3.0-2.fc42, its x86_64 rpm
	// What is answered while production's latest bash is not there.
	const otherBash = `failed rpms f42-compose src: 2 of 44, 0 digests
  bash-5.2.37-1.fc42.src: only in staging
  bash-5.3.0-2.fc42.src: only in production
failed rpms f42-compose x86_64: 8 of 109, 0 digests
  bash-5.2.37-1.fc42.x86_64: only in staging
  bash-5.3.0-2.fc42.x86_64: only in production
  bash-debuginfo-5.2.37-1.fc42.x86_64: only in staging
  bash-debuginfo-5.3.0-2.fc42.x86_64: only in production
  bash-debugsource-5.2.37-1.fc42.x86_64: only in staging
`
	s := newStaging(t, pulltest.NewSource(t, "f42-compose"), compose.Want{})
	against, _, _ := pulltest.ModularProduction(t)
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, s *staging)
		arches []string
		record verify.Record
		taken  int // differences that are left out of account
		not    string
	}{
		{name: "nothing", damage: func(*testing.T, *staging) {}},
		{name: "tag", damage: func(t *testing.T, s *staging) { s.delete(t, "tag_config", hubtest.Values{"tag_id": composeTag}) }, not: `failed tag f42-compose: 1 of 1, 0 digests
`},
		{name: "link gone", damage: func(t *testing.T, s *staging) {
			s.delete(t, "tag_inheritance", hubtest.Values{"tag_id": composeTag, "parent_id": 13, "active": true})
		}, not: `failed inheritance f42-compose: 1 of 8, 0 digests
`},
		{name: "link changed", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag_inheritance", hubtest.Values{"tag_id": composeTag, "parent_id": 8, "active": true}, hubtest.Values{"intransitive": false})
		}, not: `failed inheritance f42-compose: 1 of 8, 0 digests
  f42-compose inherits f42-modular: priority 50, maxdepth none, intransitive false, noconfig false, filter "": not so in production
`},
		{name: "external repo of fewer arches", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag_external_repos", hubtest.Values{"tag_id": 1, "active": true}, hubtest.Values{"arches": nil})
		}, not: `failed external repos f42-compose: 2 of 1, 0 digests
  f41 has external repo epel-10: priority 0, mode koji, arches all: not so in production
  f41 has external repo epel-10: priority 0, mode koji, arches i686: not so in staging
`},
		{name: "external repo of another URL", damage: func(t *testing.T, s *staging) {
			s.update(t, "external_repo_config", hubtest.Values{"active": true, "external_repo_id": 2}, hubtest.Values{"url": "https://mirror.stg.example.com/"})
		}},
		{name: "rpm changed", damage: func(t *testing.T, s *staging) {
			s.update(t, "rpminfo", hubtest.Values{"id": bashRPM}, hubtest.Values{"payloadhash": strings.Repeat("0", 32)})
			s.update(t, "rpminfo", hubtest.Values{"id": bashRPM + 1}, hubtest.Values{"size": 1})
			s.update(t, "rpminfo", hubtest.Values{"id": bashRPM + 2}, hubtest.Values{"epoch": 7})
		}, not: `failed rpms f42-compose x86_64: 3 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: epoch none, payloadhash 00000000000000000000000000000000, size 6439, build bash-5.3.0-2.fc42; in production epoch none, payloadhash de989233838da9ee326f2977d37cefa5, size 6439, build bash-5.3.0-2.fc42
  bash-debuginfo-5.3.0-2.fc42.x86_64: epoch none, payloadhash e1e3271e926cd41d73e33bd5ea2bab5f, size 1, build bash-5.3.0-2.fc42; in production epoch none, payloadhash e1e3271e926cd41d73e33bd5ea2bab5f, size 9393, build bash-5.3.0-2.fc42
  bash-debugsource-5.3.0-2.fc42.x86_64: epoch 7, payloadhash e7346003c1f7473d9c29e293dba50455, size 10030, build bash-5.3.0-2.fc42; in production epoch none, payloadhash e7346003c1f7473d9c29e293dba50455, size 10030, build bash-5.3.0-2.fc42
`},
		{name: "rpm missing", damage: func(t *testing.T, s *staging) { s.delete(t, "rpminfo", hubtest.Values{"id": bashRPM}) }, not: `failed rpms f42-compose x86_64: 1 of 109, 0 digests
  bash-5.3.0-2.fc42.x86_64: only in production
`},
		{name: "rpm missing of an arch that is not wanted", damage: func(t *testing.T, s *staging) {
			s.delete(t, "rpminfo", hubtest.Values{"id": bashRPM})
		}, arches: []string{"aarch64"}},
		{name: "rpm on record", taken: 1, damage: func(t *testing.T, s *staging) { s.delete(t, "rpminfo", hubtest.Values{"id": bashRPM}) },
			record: verify.Record{RPMs: map[int64]string{bashRPM: "staging's"}}},
		{name: "rpm too many", damage: func(t *testing.T, s *staging) {
			rows, err := s.rows.Select("rpminfo", hubtest.Values{"id": bashRPM})
			pulltest.Must(t, err)
			rows[0]["id"], rows[0]["name"] = floor, "bash-extra"
			pulltest.Must(t, s.rows.Insert("rpminfo", rows...))
			pulltest.Must(t, s.rows.Insert("rpmsigs", hubtest.Values{"rpm_id": floor, "sigkey": "", "sighash": strings.Repeat("0", 32)}))
		}, not: `failed rpms f42-compose x86_64: 1 of 109, 0 digests
  bash-extra-5.3.0-2.fc42.x86_64: only in staging
`},
		{name: "build deleted", damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": bashBuild}, hubtest.Values{"state": 2})
		}, not: otherBash},
		{name: "build on record", taken: 10, damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": bashBuild}, hubtest.Values{"state": 2})
		}, record: verify.Record{Builds: map[int64]string{bashBuild: "staging deleted it"}}},
		{name: "tagging", damage: func(t *testing.T, s *staging) {
			s.delete(t, "tag_listing", hubtest.Values{"build_id": bashBuild})
		}, not: otherBash},
		{name: "signature", damage: func(t *testing.T, s *staging) {
			s.delete(t, "rpmsigs", hubtest.Values{"rpm_id": bashRPM, "sigkey": "41526f0e"})
		}, not: `failed signatures f42-compose: 1 of 212, 0 digests
  bash-5.3.0-2.fc42.x86_64: staging has no row of key ["41526f0e"]
`},
		{name: "all signatures", damage: func(t *testing.T, s *staging) { s.delete(t, "rpmsigs", hubtest.Values{"rpm_id": bashRPM}) }, not: `failed signatures f42-compose: 1 of 212, 0 digests
  bash-5.3.0-2.fc42.x86_64: staging has no row of key ["" "41526f0e" "ba2992d4"]
warning unsigned f42-compose: 1 of 212, 0 digests
  bash-5.3.0-2.fc42.x86_64
`},
		{name: "module", damage: func(t *testing.T, s *staging) { s.delete(t, "build_types", hubtest.Values{"build_id": 60}) }, not: `failed modules f42-compose: 1 of 1, 0 digests
  postgresql-stream-16-4220250401.abcdef12: only in production
`},
		{name: "module's content tag", damage: func(t *testing.T, s *staging) { s.delete(t, "tag_config", hubtest.Values{"tag_id": 25}) },
			not: `failed content tags f42-compose: 1 of 1, 0 digests
  module-postgresql-16 of module postgresql-stream-16-4220250401.abcdef12: staging does not have it: load the snapshot
failed tag module-postgresql-16: 1 of 1, 0 digests
`},
		{name: "staging's own tagging", damage: func(t *testing.T, s *staging) {
			// Staging tags the older bash again: a compose at the event does not see it.
			pulltest.Must(t, s.rows.Insert("events", hubtest.Values{"id": floor, "time": "2026-11-21 12:00:00+00"}))
			pulltest.Must(t, s.rows.Insert("tag_listing", hubtest.Values{"build_id": 7, "tag_id": composeTag, "create_event": floor, "creator_id": 1, "active": true}))
		}, not: `warning hidden f42-compose: 1 of 51, 0 digests
  bash: staging's bash-5.2.37-1.fc42 hides production's bash-5.3.0-2.fc42
`},
		{name: "package blocked in staging", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, s.rows.Insert("events", hubtest.Values{"id": floor, "time": "2026-11-21 12:00:00+00"}))
			builds, err := s.rows.Select("build", hubtest.Values{"id": bashBuild})
			pulltest.Must(t, err)
			pulltest.Must(t, s.rows.Insert("tag_packages", hubtest.Values{"tag_id": composeTag, "package_id": builds[0]["pkg_id"], "blocked": true,
				"extra_arches": "", "create_event": floor, "creator_id": 1, "active": true}))
		}, not: `warning hidden f42-compose: 1 of 51, 0 digests
  bash: bash-5.3.0-2.fc42 is not tagged any longer, or blocked, in staging
`},
		{name: "renamed tag, a compose's own", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag", hubtest.Values{"id": composeTag}, hubtest.Values{"name": "our-compose"})
		}, not: `warning tag f42-compose: 1 of 1, 0 digests
`},
		{name: "renamed tag, an inherited one", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag", hubtest.Values{"id": 1}, hubtest.Values{"name": "old \"f41\"\n"})
		}, not: `warning names f42-compose: 1 of 1, 0 digests
  tag f41 is "old \"f41\"\n" in staging
`},
		{name: "tags that changed names", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag", hubtest.Values{"id": composeTag}, hubtest.Values{"name": "parked"})
			s.update(t, "tag", hubtest.Values{"id": 2}, hubtest.Values{"name": "f42-compose"})
			s.update(t, "tag", hubtest.Values{"id": composeTag}, hubtest.Values{"name": "f42"})
		}, not: `warning tag f42-compose: 1 of 1, 0 digests
warning names f42-compose: 1 of 1, 0 digests
  tag f42 is "f42-compose" in staging
`},
		{name: "tag that staging has under another id", damage: func(t *testing.T, s *staging) {
			s.update(t, "tag", hubtest.Values{"id": composeTag}, hubtest.Values{"name": "parked"})
			pulltest.Must(t, s.rows.Insert("tag", hubtest.Values{"id": floor + 1, "name": "f42-compose"}))
			pulltest.Must(t, s.rows.Insert("events", hubtest.Values{"id": floor, "time": "2026-11-21 12:00:00+00"}))
			pulltest.Must(t, s.rows.Insert("tag_config", hubtest.Values{"tag_id": floor + 1, "arches": "", "locked": false, "maven_support": false,
				"maven_include_all": false, "create_event": floor, "creator_id": 1, "active": true}))
		}, not: `warning tag f42-compose: 1 of 1, 0 digests
`},
		{name: "tag deleted in staging", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, s.rows.Insert("events", hubtest.Values{"id": floor, "time": "2026-11-21 12:00:00+00"}))
			s.update(t, "tag_config", hubtest.Values{"tag_id": composeTag, "active": true}, hubtest.Values{"active": nil, "revoke_event": floor, "revoker_id": 1})
		}, not: `warning hidden f42-compose: 1 of 1, 0 digests
`},
		{name: "inherited tag deleted in staging", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, s.rows.Insert("events", hubtest.Values{"id": floor, "time": "2026-11-21 12:00:00+00"}))
			s.update(t, "tag_config", hubtest.Values{"tag_id": 1, "active": true}, hubtest.Values{"active": nil, "revoke_event": floor, "revoker_id": 1})
		}},
		{name: "renamed external repo", damage: func(t *testing.T, s *staging) {
			s.update(t, "external_repo", hubtest.Values{"name": "epel-10"}, hubtest.Values{"name": "mirror"})
		}, not: `warning names f42-compose: 1 of 1, 0 digests
  external repo epel-10 is "mirror" in staging
`},
		{name: "renamed package", damage: func(t *testing.T, s *staging) {
			s.update(t, "package", hubtest.Values{"name": "bash"}, hubtest.Values{"name": "bash-x"})
		}, not: `warning names f42-compose: 1 of 1, 0 digests
  package bash is "bash-x" in staging
`},
		{name: "renamed package of a module", damage: func(t *testing.T, s *staging) {
			s.update(t, "package", hubtest.Values{"name": "postgresql-stream"}, hubtest.Values{"name": "pg"})
		}, not: `warning names f42-compose: 1 of 1, 0 digests
  package postgresql-stream is "pg" in staging
`},
		{name: "renamed channel, target, user", damage: func(t *testing.T, s *staging) {
			s.update(t, "channels", hubtest.Values{"name": "createrepo"}, hubtest.Values{"name": "repos"})
			s.update(t, "build_target", hubtest.Values{"id": 1}, hubtest.Values{"name": "ours"})
			s.update(t, "users", hubtest.Values{"id": 1}, hubtest.Values{"name": "us"})
		}, not: `warning channel createrepo: 1 of 1, 0 digests
`},
		{name: "draft promoted in staging, on record", taken: 10, damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": bashBuild}, hubtest.Values{"release": "2.promoted"})
		}, record: verify.Record{Builds: map[int64]string{bashBuild: "staging promoted it"}}},
		{name: "another build is broken than the one on record", damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": bashBuild}, hubtest.Values{"state": 2})
		}, record: verify.Record{Builds: map[int64]string{bashBuild + 1: "staging deleted it"}}, not: otherBash},
		{name: "signature on record", taken: 1, damage: func(t *testing.T, s *staging) {
			s.delete(t, "rpmsigs", hubtest.Values{"rpm_id": bashRPM, "sigkey": "41526f0e"})
		}, record: verify.Record{Signatures: map[verify.SignatureRow]string{{RPM: bashRPM, Key: "41526f0e"}: "staging deleted it"}}},
		{name: "another signature on record", damage: func(t *testing.T, s *staging) {
			s.delete(t, "rpmsigs", hubtest.Values{"rpm_id": bashRPM, "sigkey": "41526f0e"})
		}, record: verify.Record{Signatures: map[verify.SignatureRow]string{{RPM: bashRPM, Key: "ba2992d4"}: "staging deleted it"}},
			not: `failed signatures f42-compose: 1 of 212, 0 digests
  bash-5.3.0-2.fc42.x86_64: staging has no row of key ["41526f0e"]
`},
		{name: "module on record", taken: 1, damage: func(t *testing.T, s *staging) {
			s.update(t, "build", hubtest.Values{"id": 60}, hubtest.Values{"state": 2})
		}, record: verify.Record{Builds: map[int64]string{60: "staging deleted it"}}},
		{name: "module's type on record", taken: 1, damage: func(t *testing.T, s *staging) { s.delete(t, "build_types", hubtest.Values{"build_id": 60}) },
			record: verify.Record{Types: map[int64]string{60: "staging deleted it"}}},
		{name: "channel", damage: func(t *testing.T, s *staging) {
			s.update(t, "channels", hubtest.Values{"name": "createrepo"}, hubtest.Values{"enabled": false})
		}, not: `warning channel createrepo: 1 of 1, 0 digests
`},
		{name: "hosts", damage: func(t *testing.T, s *staging) {
			s.update(t, "host_config", hubtest.Values{"active": true}, hubtest.Values{"enabled": false})
		}, not: `warning channel createrepo: 1 of 1, 0 digests
  x86_64: no enabled host
`},
		{name: "channel compose without hosts", damage: func(t *testing.T, s *staging) {
			pulltest.Must(t, s.rows.Insert("channels", hubtest.Values{"id": floor, "name": "compose", "enabled": true}))
		}, not: `warning channel compose: 1 of 1, 0 digests
  x86_64: no enabled host
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &staging{snap: s.snap, top: s.top}
			s.hub, s.rows = pulltest.Production(t, hubtest.Options{})
			s.repoint(t)
			test.damage(t, s)
			change := func(o *verify.Options) { o.Arches, o.Record, o.Topdir = test.arches, test.record, "" }
			r := s.verify(t, change)
			got := s.notOK(r)
			if want := test.not + "skipped files: 0 of 0, 0 digests\n"; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			taken := 0
			for _, c := range r.Checks {
				if c.Name == "on record" {
					taken = c.Count
					if len(c.Examples) != 1 || c.Status != verify.StatusOK {
						t.Errorf("on record: %s", show([]verify.Check{c}))
					}
				}
			}
			if taken != test.taken {
				t.Errorf("%d differences left out of account, want %d", taken, test.taken)
			}
			hub := s.notOK(s.verify(t, func(o *verify.Options) { change(o); o.Against = against }))
			if hub != got {
				t.Errorf("against the hub\n%sagainst the snapshot\n%s", hub, got)
			}
		})
	}
}

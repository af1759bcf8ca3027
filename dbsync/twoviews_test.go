package dbsync_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/book"
	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// round is some work in staging, some in production, and a load.
type round struct {
	staging string            // SQL
	change  func(*production) // production's
	skipped bool              // the snapshot is taken and not loaded
	replace bool
	now     string // a condition that holds after the load

	conflicts int
}

// atEvent is an event of staging's, made for the statements that follow.
const atEvent = `INSERT INTO events (time) VALUES (now());`

// gone ends active rows as Koji does, at the last event.
func gone(rel, where string) string {
	return fmt.Sprintf(`UPDATE %s SET active = NULL, revoke_event = (SELECT max(id) FROM events), revoker_id = 990000000 WHERE active AND %s;`, rel, where)
}

// made makes a row as Koji does, at the last event.
func made(rel, columns, values string) string {
	return fmt.Sprintf(`INSERT INTO %s (%s, create_event, creator_id) VALUES (%s, (SELECT max(id) FROM events), 990000000);`, rel, columns, values)
}

func rows(rel, where string, n int) string {
	return fmt.Sprintf("(SELECT count(*) FROM %s WHERE %s) = %d", rel, where, n)
}

// again ends production's active row and makes its like.
func again(rel string, want ...any) func(*production) {
	return func(w *production) {
		old := w.find(rel, append(want, "active", "t")...)
		next := row{}
		for k, v := range old {
			next[k] = v
		}
		e := w.revoke(old)
		next["create_event"] = str(e)
		w.rows[rel] = append(w.rows[rel], next)
	}
}

func ends(rel string, want ...any) func(*production) {
	return func(w *production) { w.revoke(w.find(rel, append(want, "active", "t")...)) }
}

var twoViews = map[string][]round{
	"both untag": {
		{staging: atEvent + gone("tag_listing", "build_id = 1 AND tag_id = 2"), change: ends("tag_listing", "build_id", 1, "tag_id", 2), now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 0)},
		{change: func(w *production) { w.tag(1, 2) }, now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 0)},
		{staging: atEvent + made("tag_listing", "build_id, tag_id", "1, 2"), now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active AND create_event >= 990000000", 1)},
		{change: ends("tag_listing", "build_id", 1, "tag_id", 2), now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active AND create_event >= 990000000", 1)},
	},
	"staging untags, production untags and tags again": {
		{staging: atEvent + gone("tag_listing", "build_id = 1 AND tag_id = 2"), change: again("tag_listing", "build_id", 1, "tag_id", 2),
			now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 0) + " AND " + rows("tag_listing", "build_id = 1 AND tag_id = 2 AND revoke_event >= 990000000 AND revoker_id = 990000000", 1)},
		{change: again("tag_listing", "build_id", 1, "tag_id", 2), now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 0)},
		{replace: true, now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active AND create_event < 990000000", 1)},
		{change: again("tag_listing", "build_id", 1, "tag_id", 2), now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active AND create_event < 990000000", 1)},
	},
	"staging tags first and untags": {
		{staging: atEvent + made("tag_listing", "build_id, tag_id", "20, 3"), change: func(w *production) { w.tag(20, 3) },
			now: rows("tag_listing", "build_id = 20 AND tag_id = 3 AND active AND create_event >= 990000000", 1)},
		{staging: atEvent + gone("tag_listing", "build_id = 20 AND tag_id = 3"), now: rows("tag_listing", "build_id = 20 AND tag_id = 3 AND active", 0)},
		{change: again("tag_listing", "build_id", 20, "tag_id", 3), now: rows("tag_listing", "build_id = 20 AND tag_id = 3 AND active", 0)},
		{replace: true, now: rows("tag_listing", "build_id = 20 AND tag_id = 3 AND active AND create_event < 990000000", 1)},
	},
	"a tagging tried in staging before production's": {
		{staging: atEvent + made("tag_listing", "build_id, tag_id", "21, 3") + atEvent + gone("tag_listing", "build_id = 21 AND tag_id = 3"), change: func(w *production) { w.tag(21, 3) },
			now: rows("tag_listing", "build_id = 21 AND tag_id = 3 AND active", 1)},
	},
	"both edit a tag": {
		{staging: atEvent + gone("tag_config", "tag_id = 2") + made("tag_config", "tag_id, arches", "2, 's390x'"), change: again("tag_config", "tag_id", 2),
			now: rows("tag_config", "tag_id = 2 AND active AND arches = 's390x'", 1)},
		{change: again("tag_config", "tag_id", 2), now: rows("tag_config", "tag_id = 2 AND active AND arches = 's390x'", 1)},
		{replace: true, now: rows("tag_config", "tag_id = 2 AND active AND create_event < 990000000", 1)},
	},
	"staging removes a target, production edits it": {
		{staging: atEvent + gone("build_target_config", "build_target_id = 1"), change: again("build_target_config", "build_target_id", 1), now: rows("build_target_config", "build_target_id = 1 AND active", 0)},
	},
	"both make a tag": {
		{staging: `INSERT INTO tag (name) VALUES ('f45');` + atEvent + made("tag_config", "tag_id, arches", "(SELECT id FROM tag WHERE name = 'f45'), 'x86_64'") +
			made("tag_listing", "build_id, tag_id", "21, (SELECT id FROM tag WHERE name = 'f45')"),
			change: func(w *production) {
				id := w.next("tag")
				w.add("tag", "id", id, "name", "f45")
				w.add("tag_config", "tag_id", id, "arches", "aarch64", "locked", "f", "maven_support", "f", "maven_include_all", "f", "create_event", w.event(), "creator_id", 1, "active", "t")
				w.tag(21, id)
				w.tag(1, id)
			}, now: rows("tag_config c JOIN tag t ON t.id = c.tag_id", "name = 'f45' AND active AND arches = 'x86_64'", 1) + " AND " +
				rows("tag_listing l JOIN tag t ON t.id = l.tag_id", "name = 'f45' AND active", 2)},
		{staging: atEvent + gone("tag_config", "tag_id = (SELECT id FROM tag WHERE name = 'f45')"), change: func(w *production) { again("tag_config", "tag_id", w.find("tag", "name", "f45").get("id"))(w) },
			now: rows("tag_config c JOIN tag t ON t.id = c.tag_id", "name = 'f45' AND active", 0)},
	},
	"staging puts another parent in the place of one, production edits that": {
		{change: func(w *production) {
			w.add("tag_inheritance", "tag_id", 1, "parent_id", 20, "priority", 77, "intransitive", "f", "noconfig", "f", "pkg_filter", "", "create_event", w.event(), "creator_id", 1, "active", "t")
		}, now: "true"},
		{staging: atEvent + gone("tag_inheritance", "tag_id = 1 AND parent_id = 20") + made("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", "1, 24, 77, false, false, ''"),
			change: again("tag_inheritance", "tag_id", 1, "parent_id", 20), now: rows("tag_inheritance", "tag_id = 1 AND parent_id = 20 AND active", 0)},
		{staging: atEvent + gone("tag_inheritance", "tag_id = 1 AND parent_id = 24"), now: rows("tag_inheritance", "tag_id = 1 AND parent_id = 20 AND active", 0)},
	},
	"staging removes a tag with which production goes on": {
		{staging: atEvent + gone("tag_config", "tag_id = 4") + gone("tag_listing", "tag_id = 4") + gone("tag_packages", "tag_id = 4") + gone("tag_inheritance", "4 IN (tag_id, parent_id)"),
			change: func(w *production) {
				w.tag(21, 4)
				w.add("tag_inheritance", "tag_id", 24, "parent_id", 4, "priority", 77, "intransitive", "f", "noconfig", "f", "pkg_filter", "", "create_event", w.event(), "creator_id", 1, "active", "t")
				again("build_target_config", "build_target_id", 1)(w)
				target := w.find("build_target_config", "build_target_id", 1, "active", "t")
				target["dest_tag"] = str(4)
			}, now: rows("tag_listing", "build_id = 21 AND tag_id = 4 AND NOT active IS TRUE AND revoke_event >= 990000000", 1) + " AND " +
				rows("tag_inheritance", "parent_id = 4 AND active", 0) + " AND " + rows("build_target_config", "build_target_id = 1 AND active", 0)},
		{change: func(w *production) { w.tag(21, 3) }, now: rows("tag_listing", "tag_id = 4 AND active", 0)},
		{staging: atEvent + made("tag_config", "tag_id, arches", "4, 'x86_64'"), now: rows("tag_listing", "build_id = 21 AND tag_id = 4 AND active", 1) + " AND " +
			rows("tag_inheritance", "parent_id = 4 AND tag_id = 24 AND active", 1) + " AND " + rows("build_target_config", "build_target_id = 1 AND active AND dest_tag = 4", 1) + " AND " +
			rows("tag_config", "tag_id = 4 AND active AND create_event >= 990000000", 1)},
	},
	"staging removes a tag, production removes it, too, and makes it again": {
		{staging: atEvent + gone("tag_config", "tag_id = 9") + gone("tag_listing", "tag_id = 9"), change: func(w *production) { w.tag(21, 9) }, now: rows("tag_listing", "tag_id = 9 AND active", 0)},
		{change: again("tag_config", "tag_id", 9), now: rows("tag_listing", "tag_id = 9 AND active", 0) + " AND " + rows("tag_config", "tag_id = 9 AND active", 0)},
		{staging: atEvent + made("tag_config", "tag_id, arches", "9, 'x86_64'"), now: rows("tag_listing", "build_id = 21 AND tag_id = 9 AND active", 1)},
	},
	"staging removes a tag that production links to, and gives way": {
		{staging: atEvent + gone("tag_config", "tag_id = 4") + gone("tag_listing", "tag_id = 4"), change: func(w *production) { w.tag(20, 4) }, now: rows("tag_listing", "tag_id = 4 AND active", 0)},
		{replace: true, now: rows("tag_listing", "build_id = 20 AND tag_id = 4 AND active", 1)},
	},
	"staging gives a tag the name of production's next one": {
		{staging: "UPDATE tag SET name = 'f44' WHERE id = 4;", change: func(w *production) {
			id := w.next("tag")
			w.add("tag", "id", id, "name", "f44")
			w.add("tag_config", "tag_id", id, "arches", "aarch64", "locked", "f", "maven_support", "f", "maven_include_all", "f", "create_event", w.event(), "creator_id", 1, "active", "t")
			w.tag(21, id)
		}, now: rows("tag", "name = 'f44-production-' || id", 1) + " AND " + rows("tag_listing l JOIN tag t ON t.id = l.tag_id", "name LIKE 'f44-production-%' AND build_id = 21 AND active", 1) +
			" AND " + rows("kojisnap.left_out", "relation = 'tag' AND conflict", 1), conflicts: 1},
		{change: func(w *production) { w.tag(1, w.find("tag", "name", "f44").int("id")) }, now: rows("tag", "name = 'f44-production-' || id", 1) + " AND " +
			rows("tag_listing l JOIN tag t ON t.id = l.tag_id", "name LIKE 'f44-production-%' AND active", 2) + " AND " + rows("kojisnap.left_out", "relation = 'tag' AND conflict", 1), conflicts: 1},
		{staging: "UPDATE tag SET name = 'f43-again' WHERE id = 4;", now: rows("tag", "name = 'f44' AND id <> 4", 1) + " AND " + rows("kojisnap.left_out", "relation = 'tag'", 0)},
	},
	"both make an external repo": {
		{staging: `INSERT INTO external_repo (name) VALUES ('extra');` + atEvent + made("external_repo_config", "external_repo_id, url", "(SELECT id FROM external_repo WHERE name = 'extra'), 'http://stg/'"),
			change: func(w *production) {
				id := w.next("external_repo")
				w.add("external_repo", "id", id, "name", "extra")
				w.add("external_repo_config", "external_repo_id", id, "url", "http://prod/", "create_event", w.event(), "creator_id", 1, "active", "t")
			}, now: rows("external_repo_config", "active AND url = 'http://stg/'", 1) + " AND " + rows("external_repo_config", "active AND url = 'http://prod/'", 0)},
		{change: func(w *production) {
			ends("external_repo_config", "external_repo_id", w.find("external_repo", "name", "extra").get("id"))(w)
		},
			now: rows("external_repo_config", "active AND url = 'http://stg/'", 1)},
	},
	"staging renames an external repo and drops its url, production drops the repo": {
		{staging: `UPDATE external_repo SET name = 'renamed' WHERE id = 1;` + atEvent + gone("external_repo_config", "external_repo_id = 1"),
			now: rows("external_repo_config", "active AND external_repo_id = 1", 0)},
		{change: ends("external_repo_config", "external_repo_id", 1), now: rows("external_repo_config", "active AND external_repo_id = 1", 0)},
	},
	"a priority is taken": {
		{staging: atEvent + made("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", "1, 24, 77, false, false, ''"), change: func(w *production) {
			w.add("tag_inheritance", "tag_id", 1, "parent_id", 20, "priority", 77, "intransitive", "f", "noconfig", "f", "pkg_filter", "", "create_event", w.event(), "creator_id", 1, "active", "t")
		}, now: rows("tag_inheritance", "tag_id = 1 AND priority = 77 AND active AND parent_id = 24", 1)},
		{staging: atEvent + gone("tag_inheritance", "tag_id = 1 AND parent_id = 24"), now: rows("tag_inheritance", "tag_id = 1 AND priority = 77 AND active AND parent_id = 20", 1)},
	},
	"staging moves an inheritance, production too": {
		{change: func(w *production) {
			w.add("tag_inheritance", "tag_id", 3, "parent_id", 20, "priority", 77, "intransitive", "f", "noconfig", "f", "pkg_filter", "", "create_event", w.event(), "creator_id", 1, "active", "t")
		}, now: "true"},
		{staging: atEvent + gone("tag_inheritance", "tag_id = 3 AND parent_id = 20") + made("tag_inheritance", "tag_id, parent_id, priority, intransitive, noconfig, pkg_filter", "3, 20, 78, false, false, ''"),
			change: func(w *production) {
				again("tag_inheritance", "tag_id", 3, "parent_id", 20)(w)
				w.find("tag_inheritance", "tag_id", 3, "parent_id", 20, "active", "t")["priority"] = str(79)
			}, now: rows("tag_inheritance", "tag_id = 3 AND parent_id = 20 AND active AND priority = 78", 1)},
		{staging: atEvent + gone("tag_inheritance", "tag_id = 3 AND parent_id = 20"), change: again("tag_inheritance", "tag_id", 3, "parent_id", 20),
			now: rows("tag_inheritance", "tag_id = 3 AND parent_id = 20 AND active", 0)},
	},
	"revocations of snapshots that were not loaded": {
		{change: ends("tag_listing", "build_id", 1, "tag_id", 2), skipped: true},
		{change: again("tag_config", "tag_id", 2), skipped: true},
		{change: func(w *production) { w.tag(1, 2); again("tag_listing", "build_id", 1, "tag_id", 2)(w) }, now: rows("tag_listing", "build_id = 1 AND tag_id = 2 AND active", 1) +
			" AND " + rows("tag_listing", "build_id = 1 AND tag_id = 2 AND create_event < 990000000", 3)},
	},
	"staging resets a build, production untags and tags it": {
		{staging: `DELETE FROM tag_listing WHERE build_id = 20; DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 20);
			DELETE FROM archive_rpm_components WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 20);
			DELETE FROM rpminfo WHERE build_id = 20; DELETE FROM build_types WHERE build_id = 20; UPDATE build SET state = 4, volume_id = 0, task_id = NULL WHERE id = 20`,
			change: func(w *production) { w.tag(20, 3) }, now: rows("tag_listing", "build_id = 20 AND active", 0)},
		{change: again("tag_listing", "build_id", 20, "tag_id", 3), now: rows("tag_listing", "build_id = 20 AND active", 0)},
	},
	"staging deletes a build": {
		{staging: atEvent + gone("tag_listing", "build_id = 20") + `DELETE FROM rpmsigs WHERE rpm_id IN (SELECT id FROM rpminfo WHERE build_id = 20); UPDATE build SET state = 2 WHERE id = 20`,
			change: func(w *production) { w.tag(20, 3) }, now: rows("tag_listing", "build_id = 20 AND active", 0)},
	},
}

// twoViewsAtOnce are cases that are about different rows, so that one database does for all of a list, and one load for a
// round of each. Where staging gives way, all that it did does.
var twoViewsAtOnce = map[string][]string{
	"apart": {"both untag", "a tagging tried in staging before production's", "staging removes a target, production edits it", "both make a tag",
		"staging puts another parent in the place of one, production edits that", "staging gives a tag the name of production's next one",
		"both make an external repo", "staging resets a build, production untags and tags it"},
	"apart, too": {"staging removes a tag with which production goes on", "staging removes a tag, production removes it, too, and makes it again",
		"staging renames an external repo and drops its url, production drops the repo", "a priority is taken", "staging moves an inheritance, production too",
		"staging deletes a build"},
	"revocations": {"revocations of snapshots that were not loaded"},
	"staging gives way": {"staging untags, production untags and tags again", "staging tags first and untags", "both edit a tag",
		"staging removes a tag that production links to, and gives way"},
}

// twoViewsCases are all cases; in the short form several are one.
func twoViewsCases(t *testing.T) map[string][]round {
	if seedtest.Long() {
		return twoViews
	}
	cases, n := map[string][]round{}, 0
	for name, list := range twoViewsAtOnce {
		var several [][]round
		for _, one := range list {
			if twoViews[one] == nil {
				t.Fatalf("no case %q", one)
			}
			several = append(several, twoViews[one])
		}
		cases[name] = inLockstep(several)
		n += len(list)
	}
	if n != len(twoViews) {
		t.Fatalf("%d cases are in lists, of %d", n, len(twoViews))
	}
	return cases
}

// inLockstep makes one case of several, which begin so that they come to the round that replaces, if any, together.
func inLockstep(cases [][]round) (all []round) {
	replaces := func(rounds []round) int { return slices.IndexFunc(rounds, func(r round) bool { return r.replace }) }
	last := 0
	for _, rounds := range cases {
		last = max(last, replaces(rounds))
	}
	for _, rounds := range cases {
		begin := 0
		if at := replaces(rounds); at >= 0 {
			begin = last - at
		}
		for i, r := range rounds {
			for len(all) <= begin+i {
				all = append(all, round{now: "true"})
			}
			a := &all[begin+i]
			a.staging += r.staging + ";"
			a.now += "\nAND " + r.now
			a.conflicts += r.conflicts
			a.skipped, a.replace = a.skipped || r.skipped, a.replace || r.replace
			if before := a.change; r.change != nil {
				a.change = func(w *production) {
					if before != nil {
						before(w)
					}
					r.change(w)
				}
			}
		}
	}
	return all
}

// TestTwoViews: whatever staging did, at every event since the first that was loaded it has production's
// rows; now it has production's with its own changes over them.
func TestTwoViews(t *testing.T) { testTwoViews(t, twoViewsCases(t), 0) }

// TestTwoViewsOfHistory is the same with history from long before the first load.
func TestTwoViewsOfHistory(t *testing.T) { testTwoViews(t, seedtest.SomeOf(twoViewsCases(t), 2), 250) }

func testTwoViews(t *testing.T, cases map[string][]round, since int64) {
	for name, rounds := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s, snap := newLoadedOf(t, shot{since: since}, admin)
			taken := []*snapfile.Snapshot{snap}
			first := w.last()
			events := []int64{first}
			if since > 0 {
				first = since
			}
			for i, r := range rounds {
				what := fmt.Sprintf("round %d", i+1)
				if r.staging != "" {
					s.exec(r.staging)
				}
				if r.change != nil {
					r.change(w)
				} else {
					w.event()
				}
				snap = w.snapshot(shot{since: since})
				taken = append(taken, snap)
				if r.skipped {
					continue
				}
				own := s.own()
				opt := dbsync.LoadOptions{Between: between(taken)}
				if r.replace {
					opt.OnConflict = dbsync.Replace
				}
				rep := s.load(snap, opt)
				if len(rep.Conflicts) != r.conflicts {
					t.Errorf("%s: conflicts %+v", what, rep.Conflicts)
				}
				if !r.replace {
					same(t, own, s.own())
				}
				events = append(events, w.last())
				if i == len(rounds)-1 { // and all in between
					events = nil
					for e := first; e <= w.last(); e++ {
						if e > 415 || e%29 == 0 { // long before it is the same for all
							events = append(events, e)
						}
					}
				}
				s.checkAt(w, what, events...)
				if got := s.status().History; since > 0 && got != since {
					t.Errorf("%s: history is whole from event %d on, the status says %d", what, since, got)
				}
				if s.one("SELECT "+r.now) != "true" {
					t.Errorf("%s: now it is not so that %s", what, r.now)
				}
			}
		})
	}
}

// TestDecisionsOnRecord: what staging did with builds of production's is on record after the very
// next load, also where production changed nothing.
func TestDecisionsOnRecord(t *testing.T) {
	t.Parallel()
	type decision struct {
		name    string
		build   int
		staging string // %d is the build
	}
	all := []decision{
		{"deleted", 20, "UPDATE build SET state = 2 WHERE id = %d"},
		{"reset", 21, "UPDATE build SET state = 4, volume_id = 0 WHERE id = %d"},
		{"resubmitted", 22, atEvent + "UPDATE build SET create_event = (SELECT max(id) FROM events) WHERE id = %d"},
		{"promoted", 71, "UPDATE build SET draft = false, release = '1.fc42', promotion_time = now(), promoter = 990000000 WHERE id = %d"},
		{"edited", 23, "UPDATE build SET source = 'staging' WHERE id = %d"}, // of that, a load that has nothing to do does not look at each build
	}
	together := [][]decision{all[:4], all[4:]}
	if seedtest.Long() {
		together = slices.Collect(slices.Chunk(all, 1))
	}
	for _, decisions := range together {
		t.Run(decisions[0].name, func(t *testing.T) {
			t.Parallel()
			w, s, snap := newLoadedOf(t, shot{}, admin)
			var want []string
			for _, d := range decisions {
				s.exec(fmt.Sprintf(d.staging, d.build))
				want = append(want, fmt.Sprint("build id=", d.build))
			}
			if decisions[0].name == "edited" {
				w.event()
				snap = w.snapshot(shot{})
			}
			for i := range 2 { // it stays there
				rep := s.load(snap, dbsync.LoadOptions{})
				if rep.Skipped != (i == 1) || i == 0 && rep.Mode != "delta" {
					t.Errorf("load %d: mode %q", i+1, rep.Mode)
				}
				var kept []string
				for _, e := range s.status().Kept {
					kept = append(kept, e.Relation+" "+e.Key)
				}
				if slices.Sort(kept); !slices.Equal(kept, want) {
					t.Errorf("load %d: kept %q, want %q", i+1, kept, want)
				}
			}
		})
	}
}

// between gives the snapshots of a list as the store does.
func between(taken []*snapfile.Snapshot) func(context.Context, int64, int64) ([]*snapfile.Snapshot, error) {
	return func(_ context.Context, after, before int64) (out []*snapfile.Snapshot, err error) {
		for _, s := range taken {
			if s.Manifest.Event > after && s.Manifest.Event < before {
				out = append(out, s)
			}
		}
		return out, nil
	}
}

// checkAt compares the views at events, and of rows that production has revoked since also when
// and by whom.
func (s *staging) checkAt(w *production, what string, events ...int64) {
	s.t.Helper()
	idmap := map[string]string{}
	for _, l := range s.dump("SELECT relation, prod_id, staging_id FROM kojisnap.idmap") {
		if f := strings.Split(l, "\t"); len(f) == 3 {
			idmap[f[0]+" "+f[1]] = f[2]
		}
	}
	line := func(r *relation.Relation, x row) string {
		var f [][]byte
		for _, c := range r.Columns {
			v := x[c.Name]
			switch {
			case c.Name == "active":
				continue
			case v == nil:
				f = append(f, nil)
				continue
			}
			if m, ok := idmap[reference(r, c, x)+" "+*v]; ok {
				v = &m
			}
			f = append(f, []byte(*v))
		}
		return strings.TrimSuffix(string(snapfile.AppendLine(nil, f)), "\n")
	}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		// All rows are read once, and each event has some of them.
		type version struct {
			created, revoked int64 // revoked: math.MaxInt64 is never
			line             string
		}
		var want, got []version
		for _, x := range w.rows[r.Name] {
			v := version{x.int("create_event"), math.MaxInt64, line(r, x)}
			if x["revoke_event"] != nil {
				v.revoked = x.int("revoke_event")
			}
			want = append(want, v)
		}
		cols := []string{"create_event", fmt.Sprintf("coalesce(revoke_event, %d)", math.MaxInt64)}
		for _, c := range r.Columns {
			switch c.Name {
			case "active":
			case "revoke_event", "revoker_id": // a staging event is none of production's
				cols = append(cols, fmt.Sprintf("CASE WHEN revoke_event < %d THEN %s END", book.DefaultFloor, c.Name))
			default:
				cols = append(cols, `"`+c.Name+`"`)
			}
		}
		for _, l := range s.dump(fmt.Sprintf("SELECT %s FROM %s", strings.Join(cols, ", "), r.Name)) {
			if f := strings.SplitN(l, "\t", 3); len(f) == 3 {
				x := row{"created": &f[0], "revoked": &f[1]}
				got = append(got, version{x.int("created"), x.int("revoked"), f[2]})
			}
		}
		at := func(versions []version, event int64) (lines []string) {
			for _, v := range versions {
				if v.created <= event && v.revoked > event {
					lines = append(lines, v.line)
				}
			}
			sort.Strings(lines)
			return lines
		}
		for _, event := range events {
			diff(s.t, fmt.Sprintf("%s: at event %d: %s", what, event, r.Name), at(want, event), at(got, event))
		}
	}
}

package dbsync_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"kojisnap/dbsync"
	"kojisnap/dbsync/dbtest"
	"kojisnap/kojisnap/seedtest"
	"kojisnap/kojisnap/snapfile"
)

// TestProtect: what the hub could not give stays as it is, with what hangs on it; all else of the
// same relations goes as it went in production. Once the hub gives it again, so does the rest.
func TestProtect(t *testing.T) {
	t.Parallel()
	key := func(r row, columns ...string) (out []string) {
		for _, c := range columns {
			out = append(out, r.get(c))
		}
		return out
	}
	type loss struct {
		name  string
		build int64 // that the hub cannot give, or not all of it
		lost  func(w *production, build int64) []snapfile.LeftOut
		whole bool // not all rows are known, so that the load after it looks at all
		rpms  bool // all of its rpms stay as they are
	}
	all := []loss{
		// Those that have no rows in common, and of which the load after it looks at as much, can be lost together.
		{name: "a build", build: 9, rpms: true, lost: func(w *production, lost int64) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "build", Column: "id", ID: lost}}
		}},
		{name: "a package", build: 17, rpms: true, lost: func(w *production, lost int64) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "package", Column: "id", ID: w.find("build", "id", lost).int("pkg_id")}}
		}},
		{name: "the rpms of a build", build: 36, rpms: true, lost: func(w *production, lost int64) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "rpminfo", Column: "build_id", ID: lost}}
		}},
		{name: "signatures, types and a tagging", build: 6, lost: func(w *production, lost int64) (out []snapfile.LeftOut) {
			for _, rpm := range w.all("rpminfo", "build_id", lost) {
				out = append(out, snapfile.LeftOut{Relation: "rpmsigs", Column: "rpm_id", ID: rpm.int("id")})
			}
			tagging := w.all("tag_listing", "build_id", lost, "active", "t")[0]
			return append(out, snapfile.LeftOut{Relation: "tag_listing", Key: key(tagging, "create_event", "build_id", "tag_id")},
				snapfile.LeftOut{Relation: "build_types", Column: "build_id", ID: lost, Builds: []int64{lost}})
		}},
		{name: "rows of a tag", build: 9, whole: true, lost: func(w *production, lost int64) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "tag_listing", Row: "tag 4", Tag: 4}, {Relation: "tag_packages", Row: "tag 4", Tag: 4}}
		}},
		{name: "rows of builds", build: 36, whole: true, lost: func(w *production, lost int64) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "rpminfo", Row: "build", Builds: []int64{lost}}, {Relation: "tag_listing", Row: "build", Builds: []int64{lost}}}
		}},
	}
	together := [][]loss{all[:4], all[4:]}
	if seedtest.Long() {
		together = slices.Collect(slices.Chunk(all, 1))
	}
	for _, losses := range together {
		var names []string
		for _, l := range losses {
			names = append(names, l.name)
		}
		whole := losses[0].whole
		for _, audit := range seedtest.Some([]bool{false, true}, 1) {
			t.Run(fmt.Sprintf("%s, audit %v", strings.Join(names, ", "), audit), func(t *testing.T) {
				w := newProduction(t)
				for _, l := range losses {
					w.tag(l.build, 2)
				}
				s := loadedWith(t, w.snapshot(shot{}))
				opt := dbsync.LoadOptions{Audit: audit}

				// Others go: a tagging, an rpm with its signatures, those of another.
				for _, l := range w.all("tag_listing", "active", "t") {
					b := l.int("build_id")
					if b != 10 && !slices.ContainsFunc(losses, func(l loss) bool { return l.build == b }) {
						w.revoke(l)
						break
					}
				}
				rpms := w.all("rpminfo", "build_id", 10)
				w.drop("rpmsigs", "rpm_id", rpms[0].int("id"))
				w.drop("rpminfo", "id", rpms[0].int("id"))
				w.drop("rpmsigs", "rpm_id", rpms[1].int("id"))
				var away []snapfile.LeftOut
				for _, l := range losses {
					away = append(away, l.lost(w, l.build)...)
				}
				rep := s.load(w.snapshot(shot{lost: away}), opt)
				s.check(w, shot{})
				if delta := rep.Base != ""; delta == audit {
					t.Errorf("base %q", rep.Base)
				}
				for _, r := range rep.Relations {
					if want := map[string]int64{"tag_listing": 1}[r.Relation]; r.Revoked != want {
						t.Errorf("%s: %d revoked", r.Relation, r.Revoked)
					}
				}

				// What is lacking goes, too, and the hub still cannot give it.
				anRPMGoes := func(stay bool) {
					for _, l := range losses {
						if l.rpms == stay {
							gone := w.all("rpminfo", "build_id", l.build)[0]
							w.drop("rpmsigs", "rpm_id", gone.int("id"))
							w.drop("rpminfo", "id", gone.int("id"))
						}
					}
				}
				anRPMGoes(false)
				was := w.view(shot{event: w.last()})
				anRPMGoes(true)
				w.event()
				s.load(w.snapshot(shot{lost: away}), opt)
				if losses[0].rpms {
					was["events"] = w.rows["events"]
					s.checkView(was, dbtest.NewestRelease)
				}

				// The next whole snapshot knows.
				for _, l := range losses {
					w.revoke(w.find("tag_listing", "build_id", l.build, "tag_id", 4, "active", "t"))
				}
				w.event()
				rep = s.load(w.snapshot(shot{}), opt)
				s.check(w, shot{})
				if delta := rep.Base != ""; delta != (!audit && !whole) {
					t.Errorf("base %q", rep.Base)
				}
			})
		}
	}
}

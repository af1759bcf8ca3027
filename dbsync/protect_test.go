package dbsync_test

import (
	"fmt"
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
	const lost = 9 // the build
	key := func(r row, columns ...string) (out []string) {
		for _, c := range columns {
			out = append(out, r.get(c))
		}
		return out
	}
	for _, test := range []struct {
		name  string
		lost  func(w *production) []snapfile.LeftOut
		whole bool // not all rows are known, so that the load after it looks at all
	}{
		{name: "a build", lost: func(w *production) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "build", Column: "id", ID: lost}}
		}},
		{name: "a package", lost: func(w *production) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "package", Column: "id", ID: w.find("build", "id", lost).int("pkg_id")}}
		}},
		{name: "the rpms of a build", lost: func(w *production) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "rpminfo", Column: "build_id", ID: lost}}
		}},
		{name: "signatures, types and a tagging", lost: func(w *production) (out []snapfile.LeftOut) {
			for _, rpm := range w.all("rpminfo", "build_id", lost) {
				out = append(out, snapfile.LeftOut{Relation: "rpmsigs", Column: "rpm_id", ID: rpm.int("id")})
			}
			tagging := w.all("tag_listing", "build_id", lost, "active", "t")[0]
			return append(out, snapfile.LeftOut{Relation: "tag_listing", Key: key(tagging, "create_event", "build_id", "tag_id")},
				snapfile.LeftOut{Relation: "build_types", Column: "build_id", ID: lost, Builds: []int64{lost}})
		}},
		{name: "rows of a tag", whole: true, lost: func(w *production) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "tag_listing", Tag: 4}, {Relation: "tag_packages", Tag: 4}}
		}},
		{name: "rows of builds", whole: true, lost: func(w *production) []snapfile.LeftOut {
			return []snapfile.LeftOut{{Relation: "rpminfo", Builds: []int64{lost}}, {Relation: "tag_listing", Builds: []int64{lost}}}
		}},
	} {
		for _, audit := range seedtest.Some([]bool{false, true}, 1) {
			t.Run(fmt.Sprintf("%s, audit %v", test.name, audit), func(t *testing.T) {
				w := newProduction(t)
				w.tag(lost, 2)
				s := loadedWith(t, w.snapshot(shot{}))
				opt := dbsync.LoadOptions{Audit: audit}

				// Others go: a tagging, an rpm with its signatures, those of another.
				for _, l := range w.all("tag_listing", "active", "t") {
					if b := l.int("build_id"); b != lost && b != 10 {
						w.revoke(l)
						break
					}
				}
				rpms := w.all("rpminfo", "build_id", 10)
				w.drop("rpmsigs", "rpm_id", rpms[0].int("id"))
				w.drop("rpminfo", "id", rpms[0].int("id"))
				w.drop("rpmsigs", "rpm_id", rpms[1].int("id"))
				away := test.lost(w)
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
				gone := w.all("rpminfo", "build_id", lost)[0]
				was := w.view(shot{event: w.last()})
				w.drop("rpmsigs", "rpm_id", gone.int("id"))
				w.drop("rpminfo", "id", gone.int("id"))
				w.event()
				s.load(w.snapshot(shot{lost: away}), opt)
				if test.name == "a build" || test.name == "a package" || test.name == "the rpms of a build" {
					was["events"] = w.rows["events"]
					s.checkView(was, dbtest.NewestRelease)
				}

				// The next whole snapshot knows.
				w.revoke(w.find("tag_listing", "build_id", lost, "tag_id", 4, "active", "t"))
				w.event()
				rep = s.load(w.snapshot(shot{}), opt)
				s.check(w, shot{})
				if delta := rep.Base != ""; delta != (!audit && !test.whole) {
					t.Errorf("base %q", rep.Base)
				}
			})
		}
	}
}

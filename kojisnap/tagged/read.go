package tagged

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"

	"kojisnap/kojisnap/relation"
	"kojisnap/kojisnap/snapfile"
)

// Build is a build that a tag holds.
type Build struct {
	ID        int64
	PackageID int64
	Name      string // of the package
	Version   string
	Release   string
	Volume    string // production's name of it
	State     int64  // 1 is COMPLETE
	Draft     bool
	TagID     int64 // the tag in which the build was found
}

// NVR returns the build's name, NAME-VERSION-RELEASE.
func (b *Build) NVR() string { return b.Name + "-" + b.Version + "-" + b.Release }

// Complete is the state of builds that have files (koji.BUILD_STATES).
const Complete = 1

// View is the tags of a snapshot with their builds. It may be used concurrently.
type View struct {
	Tags     map[string]int64 // ids by name
	Names    map[int64]string // names of tags by id
	Packages map[int64]string // names of packages by id
	links    map[int64][]link // by child, in order of priority
	packages map[int64]map[int64]bool
	listing  map[int64][]tagging // by tag, most recent first
	builds   map[int64]*Build
}

type link struct {
	parent       int64
	priority     int64
	maxdepth     int64
	intransitive bool
	noconfig     bool
	filter       *filter // nil: none
}

type tagging struct{ event, build int64 }

// Read reads the View of a snapshot: everything except rpms and what belongs to them.
func Read(ctx context.Context, snap *snapfile.Snapshot) (*View, error) {
	v := &View{
		Tags: map[string]int64{}, Names: map[int64]string{}, links: map[int64][]link{}, packages: map[int64]map[int64]bool{},
		listing: map[int64][]tagging{}, builds: map[int64]*Build{}, Packages: map[int64]string{},
	}
	// The snapshot has only the rows of tags in its scope.
	for _, t := range snap.Manifest.Scope.All {
		v.Tags[t.Name], v.Names[t.ID] = t.ID, t.Name
	}
	volumes := map[int64]string{}
	for _, step := range []struct {
		relation string
		row      func(Row)
	}{
		{"package", func(r Row) { v.Packages[r.Int("id")] = r.Text("name") }},
		{"volume", func(r Row) { volumes[r.Int("id")] = r.Text("name") }},
		{"tag_inheritance", func(r Row) {
			l := link{parent: r.Int("parent_id"), priority: r.Int("priority"), maxdepth: unlimited,
				intransitive: r.Bool("intransitive"), noconfig: r.Bool("noconfig"),
				filter: newFilter(r.Int("tag_id"), r.Int("parent_id"), r.Text("pkg_filter"))}
			if !r.Null("maxdepth") {
				l.maxdepth = r.Int("maxdepth")
			}
			v.links[r.Int("tag_id")] = append(v.links[r.Int("tag_id")], l)
		}},
		{"tag_packages", func(r Row) {
			tag := r.Int("tag_id")
			if v.packages[tag] == nil {
				v.packages[tag] = map[int64]bool{}
			}
			v.packages[tag][r.Int("package_id")] = r.Bool("blocked")
		}},
		{"build", func(r Row) {
			pkg := r.Int("pkg_id")
			v.builds[r.Int("id")] = &Build{ID: r.Int("id"), PackageID: pkg, Name: v.Packages[pkg], Version: r.Text("version"),
				Release: r.Text("release"), Volume: volumes[r.Int("volume_id")], State: r.Int("state"), Draft: r.Bool("draft")}
		}},
		{"tag_listing", func(r Row) {
			tag := r.Int("tag_id")
			v.listing[tag] = append(v.listing[tag], tagging{r.Int("create_event"), r.Int("build_id")})
		}},
	} {
		if err := Each(ctx, snap, step.relation, step.row); err != nil {
			return nil, err
		}
	}
	for _, links := range v.links {
		slices.SortStableFunc(links, func(a, b link) int { return int(a.priority - b.priority) })
	}
	for _, list := range v.listing {
		slices.SortFunc(list, func(a, b tagging) int {
			if a.event != b.event {
				return int(b.event - a.event)
			}
			return int(b.build - a.build)
		})
	}
	return v, nil
}

// Row is a row of a snapshot, with columns by name. Its methods panic for a column that the relation does not have.
// It is valid during the call that gets it.
type Row struct {
	rel    *relation.Relation
	fields [][]byte
}

// Text returns a column's text, empty for NULL. It is a copy.
func (r Row) Text(column string) string { return string(r.fields[r.rel.Index(column)]) }

// Bytes returns a column's text, nil for NULL. It is valid until the next row.
func (r Row) Bytes(column string) []byte { return r.fields[r.rel.Index(column)] }

// Null reports whether a column is NULL.
func (r Row) Null(column string) bool { return r.fields[r.rel.Index(column)] == nil }

// Bool returns a boolean column, false for NULL.
func (r Row) Bool(column string) bool { return bytes.Equal(r.fields[r.rel.Index(column)], []byte("t")) }

// Int returns an integer column, 0 for NULL.
func (r Row) Int(column string) int64 {
	n, _ := strconv.ParseInt(string(r.fields[r.rel.Index(column)]), 10, 64)
	return n
}

// Each calls fn for every row of a relation, in the order of its key.
func Each(ctx context.Context, snap *snapfile.Snapshot, name string, fn func(Row)) error {
	rows := snap.Rows(ctx, name)
	defer rows.Close()
	r := Row{rel: relation.Get(name)}
	for rows.Next() {
		var err error
		if r.fields, err = rows.Fields(r.fields); err != nil {
			return fmt.Errorf("snapshot %s: %s: %w", snap.ID, name, err)
		}
		fn(r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("snapshot %s: %s: %w", snap.ID, name, err)
	}
	return nil
}

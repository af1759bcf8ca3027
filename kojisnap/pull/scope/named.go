package scope

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/tagged"
	"kojisnap/volumes"
)

// Builds besides the tags. A compose may name a build itself (Pungi's pkgset_koji_builds, extra files by
// NVR), or a build may be needed to reproduce a bug; such a build need not be in any tag of the scope. It is
// pulled like a tagged build: its row, types, rpms, signatures, archives, and their components.
//
// Events do not show what happens to it, so each pull reads all of it while it is on the list. Its id
// identifies it: a draft that is promoted gets another name, and remains the build that was asked for.

// UnknownBuildError says that the hub does not have some builds.
type UnknownBuildError struct {
	Hub    string
	Builds []string // as asked for
}

func (e *UnknownBuildError) Error() string {
	quoted := make([]string, len(e.Builds))
	for i, b := range e.Builds {
		quoted[i] = strconv.Quote(b)
	}
	noun := "build"
	if len(quoted) > 1 {
		noun = "builds"
	}
	return fmt.Sprintf("hub %s has no %s %s: correct the name in --build, or in build of [pull], or take it off the list",
		e.Hub, noun, strings.Join(quoted, ", "))
}

// CheckBuildName refuses a text that cannot name a build: a number that is no id; a text that Koji's
// parse_NVR does not split into name, version and release; or one with a part that could not be a directory.
func CheckBuildName(name string) error {
	_, err := buildInfo(name)
	return err
}

// buildInfo returns getBuild's argument for a build: the id for a text of digits, otherwise the text itself.
func buildInfo(name string) (any, error) {
	if name != "" && strings.Trim(name, "0123456789") == "" {
		id, err := strconv.ParseInt(name, 10, 32)
		if err != nil || id == 0 {
			return nil, fmt.Errorf("build %q: is no id; Koji's are 1 to 2147483647", name)
		}
		return id, nil
	}
	head, release, isNVR := cutLast(name, "-")
	pkg, version, hasVersion := cutLast(head, "-")
	if !isNVR || !hasVersion || pkg == "" || version == "" || release == "" {
		return nil, fmt.Errorf("build %q: want NAME-VERSION-RELEASE, or an id", name)
	}
	for _, part := range []struct{ what, text string }{{"name", pkg}, {"version", version}, {"release", release}} {
		if err := volumes.CheckName(part.what, part.text); err != nil {
			return nil, fmt.Errorf("build %.200q: %w", name, err)
		}
	}
	return name, nil
}

// cutLast is strings.Cut at the last separator.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// FindBuilds finds the builds asked for by name, and adds them to the scope.
func (f *Finder) FindBuilds(ctx context.Context, s store.Store) error {
	calls := make([]hub.Call, len(f.opt.Builds))
	for i, name := range f.opt.Builds {
		info, err := buildInfo(name)
		if err != nil {
			return err
		}
		calls[i] = hub.Call{Method: "getBuild", Args: []any{info}}
	}
	builds, rows := map[int64]snapfile.NamedBuild{}, map[int64]namedRow{}
	unknown, err := f.askNamed(ctx, f.opt.Builds, calls, builds, rows)
	if err != nil {
		return err
	}
	if unknown, err = f.findRenamed(ctx, s, unknown, builds, rows); err != nil {
		return err
	}
	if len(unknown) > 0 {
		return &UnknownBuildError{f.hub.URL(), unknown}
	}
	f.Scope.Builds, f.Incomplete, f.modules = nil, nil, nil
	for id, b := range builds {
		f.Scope.Builds = append(f.Scope.Builds, b)
		f.Named.Add(id)
		row, told := rows[id]
		if told && row.state != tagged.Complete {
			f.Incomplete = append(f.Incomplete, IncompleteBuild{id, b.Name(), tagged.StateName(row.state)})
		}
		if told && row.module {
			f.modules = append(f.modules, b)
		}
	}
	byID := func(a, b snapfile.NamedBuild) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(f.Scope.Builds, byID)
	slices.SortFunc(f.modules, byID)
	slices.SortFunc(f.Incomplete, func(a, b IncompleteBuild) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// namedRow is the part of a build's row that is needed before all of it is read.
type namedRow struct {
	state  int64
	module bool // its extra has a module
}

// askNamed asks for builds, each by a call of getBuild, and adds those that exist. It returns the names of
// the others.
func (f *Finder) askNamed(ctx context.Context, asked []string, calls []hub.Call, builds map[int64]snapfile.NamedBuild, rows map[int64]namedRow) (unknown []string, err error) {
	add := func(name string, id int64, nvr string) {
		if _, twice := builds[id]; !twice { // it may also be asked for by its id
			builds[id] = snapfile.NamedBuild{ID: id, NVR: nvr, Asked: name}
		}
	}
	err = f.pager.Each(ctx, calls, func(i int, r hub.Row) error {
		if r.IsNil() {
			unknown = append(unknown, asked[i])
			return nil
		}
		id, ok := r.Get("build_id").Int()
		if !ok {
			return fmt.Errorf("build %q: getBuild of hub %s answered %s, which is not a build", asked[i], f.hub.URL(), r.Kind())
		}
		if err := idset.Check(id); err != nil {
			return fmt.Errorf("build %q: id %w", asked[i], err)
		}
		nvr, _ := r.Get("nvr").Str()
		add(asked[i], id, nvr)
		state, _ := r.Get("state").Int()
		rows[id] = namedRow{state, r.Get("extra").Field("typeinfo").Field("module").Kind() == hub.Struct}
		return nil
	}, func(i int, why error) error {
		// What the hub cannot send is judged when the build's rows are read.
		id, isID := calls[i].Args[0].(int64)
		nvr := ""
		if !isID {
			nvr = asked[i]
			v, err := f.hub.Call(ctx, hub.Call{Method: "findBuildID", Args: []any{nvr}})
			if id, isID = v.Int(); err != nil || !isID {
				return fmt.Errorf("build %q: %w", asked[i], why)
			}
		}
		add(asked[i], id, nvr)
		return nil
	})
	slices.Sort(unknown)
	return slices.Compact(unknown), err // after a split reply, rows may come twice
}

// findRenamed handles builds that the hub no longer has by these names, and that an earlier pull found by
// them: it asks for them by their ids. It returns the names of those that do not exist at all.
func (f *Finder) findRenamed(ctx context.Context, s store.Store, names []string, builds map[int64]snapfile.NamedBuild, rows map[int64]namedRow) (unknown []string, err error) {
	if len(names) == 0 || s == nil {
		return names, nil
	}
	all, err := repository.SnapshotsFunc(ctx, s, func(error) error { return nil }) // those that can be used
	if err != nil {
		return nil, err
	}
	var asked []string
	var calls []hub.Call
	for _, name := range names {
		id := int64(0)
		for _, snap := range all { // the latest first
			at := slices.IndexFunc(snap.Manifest.Scope.Builds, func(b snapfile.NamedBuild) bool { return b.Asked == name })
			if snap.Manifest.Hub == f.hub.URL() && at >= 0 {
				id = snap.Manifest.Scope.Builds[at].ID
				break
			}
		}
		if id == 0 {
			unknown = append(unknown, name)
			continue
		}
		asked = append(asked, name)
		calls = append(calls, hub.Call{Method: "getBuild", Args: []any{id}})
	}
	gone, err := f.askNamed(ctx, asked, calls, builds, rows)
	return slices.Concat(unknown, gone), err
}

// IncompleteBuild is a build asked for by name that has no files for a compose.
type IncompleteBuild struct {
	ID    int64  `json:"id"`
	Build string `json:"build"` // its NVR
	State string `json:"state"` // Koji's name of it
}

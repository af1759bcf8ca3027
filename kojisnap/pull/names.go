package pull

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/pull/checkpoint"
	"kojisnap/kojisnap/pull/pager"
	"kojisnap/kojisnap/snapfile"
)

// nameReader reads the rows that names come from, and the small relations without events.
type nameReader struct{ *run }

// readBuildTypes reads the build types: getBuildType answers with their names.
func (n nameReader) readBuildTypes(ctx context.Context) error {
	return n.inStage(ctx, "types", func(t task) (err error) {
		n.btypes, err = checkpoint.Once(ctx, t.stage, "types of builds", func(b *checkpoint.Batch) (map[string][]byte, error) { return n.askBuildTypes(ctx, t.in(b)) })
		n.pager.UseBuildTypes(slices.Collect(maps.Keys(n.btypes)))
		return err
	})
}

func (n nameReader) askBuildTypes(ctx context.Context, t task) (map[string][]byte, error) {
	ids := map[string][]byte{}
	return ids, n.list(ctx, t, "btype", hub.Call{Method: "listBTypes"}, func(r hub.Value) (bool, error) {
		id, ok := r.Field("id").Int()
		name, named := r.Field("name").Str()
		switch {
		case named && ok:
			ids[name] = idset.Text(id)
		case !ok || r.Field("name").Kind() != hub.Bad:
			return false, fmt.Errorf("a build type without id and name: %.200s", r)
		}
		return true, nil
	})
}

// read reads what others refer to. Names come last, when it is known which are needed.
func (n nameReader) read(ctx context.Context) error {
	return n.inStage(ctx, "names", func(t task) error {
		if n.opt.Everything {
			if err := n.readPackages(ctx, t); err != nil {
				return err
			}
		}
		if err := n.histories().readExternalRepos(ctx, t); err != nil {
			return err
		}
		if err := n.fillSkipped(ctx); err != nil { // users are asked for after everything that refers to them
			return err
		}
		return n.readNames(ctx, t)
	})
}

// readNames reads the small unversioned relations: all types, permissions, channels and volumes, and the
// users that rows refer to.
func (n nameReader) readNames(ctx context.Context, t task) error {
	for _, l := range []struct{ relation, method string }{
		{"archivetypes", "getArchiveTypes"}, {"permissions", "getAllPerms"}, {"channels", "listChannels"}, {"volume", "listVolumes"},
	} {
		err := t.do(ctx, l.method, func(t task) error { return n.list(ctx, t, l.relation, hub.Call{Method: l.method}, nil) })
		if err != nil {
			return err
		}
	}
	wanted := n.builder.Referred("users")
	referred := checkpoint.Digest(wanted.All())
	// Hubs before 1.35 take one type at a time: people, hosts, groups.
	for userType := range 3 {
		call := hub.Call{Method: "listUsers", Kwargs: map[string]any{"userType": userType}}
		err := t.do(ctx, fmt.Sprint("users ", userType, " of ", referred), func(t task) error {
			return n.list(ctx, t, "users", call, func(r hub.Value) (bool, error) {
				id, ok := r.Field("id").Int()
				return n.builder.Refers("users", id) || !ok, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// list adds the rows of a call that lists a relation. If keep is not nil, it selects them.
func (n nameReader) list(ctx context.Context, t task, name string, call hub.Call, keep func(hub.Value) (bool, error)) error {
	var ours error
	put := func(r hub.Row) error {
		ours = t.putKept(name, r.Value, keep)
		return ours
	}
	err := n.hub.Stream(ctx, pager.RowsOf(call), put)
	if call.Method == "listUsers" && pager.Broken(ctx, err, ours) { // the other calls take no queryOpts
		lost, why, apart := n.pager.Split(ctx, n.hub.Stream, call, "id", err, put)
		if err = apart; err == nil && lost != 0 {
			t.skip(snapfile.LeftOut{Relation: name, Row: fmt.Sprintf("a user of type %v", call.Kwargs["userType"]), Reason: why.Error()})
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", call.Method, err)
	}
	return nil
}

func (t task) putKept(name string, r hub.Value, keep func(hub.Value) (bool, error)) error {
	if keep != nil {
		if ok, err := keep(r); !ok || err != nil {
			return err
		}
	}
	return t.put(name, r)
}

package pull

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/idset"
	"kojisnap/kojisnap/snapfile"
)

// loadBTypes reads the build types, by whose names getBuildType answers.
func (p *puller) loadBTypes(ctx context.Context) error {
	return p.inStage(ctx, "types", func(q *puller) (err error) {
		p.btypes, err = once(ctx, q, "types of builds", func(p *puller) (map[string][]byte, error) { return p.askBTypes(ctx) })
		return err
	})
}

func (p *puller) askBTypes(ctx context.Context) (map[string][]byte, error) {
	ids := map[string][]byte{}
	return ids, p.list(ctx, "btype", hub.Call{Method: "listBTypes"}, func(r hub.Value) (bool, error) {
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

// pullRest reads what is referred to: names last, by then it is known which.
func (p *puller) pullRest(ctx context.Context) error {
	return p.inStage(ctx, "names", func(p *puller) error {
		if err := p.pullExternalRepos(ctx); err != nil {
			return err
		}
		if err := p.fillSkipped(ctx); err != nil { // users are asked for after all that refers to them
			return err
		}
		return p.pullNames(ctx)
	})
}

// pullNames reads the small unversioned relations: all rows of types, permissions, channels
// and volumes, and of users those who are referred to.
func (p *puller) pullNames(ctx context.Context) error {
	for _, l := range []struct{ relation, method string }{
		{"archivetypes", "getArchiveTypes"}, {"permissions", "getAllPerms"}, {"channels", "listChannels"}, {"volume", "listVolumes"},
	} {
		err := onceOnly(ctx, p, l.method, func(p *puller) error { return p.list(ctx, l.relation, hub.Call{Method: l.method}, nil) })
		if err != nil {
			return err
		}
	}
	wanted := p.builder.Referred("users")
	referred := digest(wanted.List())
	// Hubs before 1.35 take one type at a time: people, hosts, groups.
	for userType := range 3 {
		call := hub.Call{Method: "listUsers", Kwargs: map[string]any{"userType": userType}}
		err := onceOnly(ctx, p, fmt.Sprint("users ", userType, " of ", referred), func(p *puller) error {
			return p.list(ctx, "users", call, func(r hub.Value) (bool, error) {
				id, ok := r.Field("id").Int()
				return p.builder.Refers("users", id) || !ok, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// list adds the rows of a call that lists a relation, those that keep says if it is not nil.
func (p *puller) list(ctx context.Context, name string, call hub.Call, keep func(hub.Value) (bool, error)) error {
	var ours error
	put := func(r hub.Row) error {
		ours = p.putKept(name, r.Value, keep)
		return ours
	}
	err := p.hub.Stream(ctx, rowsOf(call), put)
	if call.Method == "listUsers" && broken(ctx, err, ours) { // the others take no queryOpts
		lost, why, apart := p.apart(ctx, p.hub.Stream, call, "id", err, put)
		if err = apart; err == nil && lost != 0 {
			p.leave(snapfile.LeftOut{Relation: name, Row: fmt.Sprintf("a user of type %v", call.Kwargs["userType"]), Reason: why.Error()})
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", call.Method, err)
	}
	return nil
}

func (p *puller) putKept(name string, r hub.Value, keep func(hub.Value) (bool, error)) error {
	if keep != nil {
		if ok, err := keep(r); !ok || err != nil {
			return err
		}
	}
	return p.put(name, r)
}

package kojisnap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
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
		if !ok || !named {
			return false, fmt.Errorf("a build type without id and name: %s", r)
		}
		ids[name] = []byte(fmt.Sprint(id))
		return true, nil
	})
}

func (p *puller) btype(name string) ([]byte, error) {
	id, ok := p.btypes[name]
	if !ok {
		return nil, fmt.Errorf("build type %q: %w", name, errNoBType)
	}
	return id, nil
}

// pullRest reads what is referred to: names last, by then it is known which.
func (p *puller) pullRest(ctx context.Context) error {
	return p.inStage(ctx, "names", func(p *puller) error {
		if err := p.pullExternalRepos(ctx); err != nil {
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
	users := p.tables["users"]
	wanted := users.wantedSet()
	referred := digest(slices.Collect(wanted.each()))
	// Hubs before 1.35 take one type at a time: people, hosts, groups.
	for userType := range 3 {
		call := hub.Call{Method: "listUsers", Kwargs: map[string]any{"userType": userType}}
		err := onceOnly(ctx, p, fmt.Sprint("users ", userType, " of ", referred), func(p *puller) error {
			return p.list(ctx, "users", call, func(r hub.Value) (bool, error) {
				id, ok := r.Field("id").Int()
				return users.wants(id) || !ok, nil
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
	call.Again = countedOnce
	err := p.hub.Stream(ctx, call, func(r hub.Row) error {
		if keep != nil {
			if ok, err := keep(r.Value); !ok || err != nil {
				return err
			}
		}
		return p.put(name, r.Value)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", call.Method, err)
	}
	return nil
}

// checkClosed makes sure that a row is there for everything that is referred to: what comes
// out restores alone.
func (p *puller) checkClosed() error {
	var missing []string
	for _, rel := range relation.All() {
		if rel.Key[0] != "id" {
			continue
		}
		if ids := p.tables[rel.Name].wanted(); len(ids) > 0 {
			missing = append(missing, fmt.Sprintf("%s %d (and %d more)", rel.Name, ids[0], len(ids)-1))
		}
	}
	if len(missing) > 0 {
		return &notClosedError{missing}
	}
	return nil
}

// notClosedError names rows that other rows refer to and that are not there.
type notClosedError struct{ missing []string }

func (e *notClosedError) Error() string {
	return fmt.Sprintf("the hub's answers name rows that it does not show: %s; pull again: production may have changed meanwhile",
		strings.Join(e.missing, ", "))
}

package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
)

// taggedTag is a wanted tag that both sides have, and what the checks find out about it.
type taggedTag struct {
	tagRef                    // production's
	here     tagRef           // staging's
	order    *inheritance     // production's; nil if production could not be asked
	inherits map[int64]string // the tags that it inherits in staging
	matching *matching        // of the rpms; nil if one side could not be asked
	modules  []*moduleBuild   // staging's

	undecided map[int64]bool  // production's builds for which it is unknown whether the tag has them
	renamed   map[string]bool // what staging renamed, for people

	explained int             // how many differences staging's own decisions explain
	reasons   map[string]bool // these decisions
}

// tagChecks compare what a tag is: whether it is there, what it inherits, which external repos it has.
type tagChecks struct{ *verifier }

// checkExists checks that both sides have a tag at the event; nil if not.
func (v tagChecks) checkExists(ctx context.Context, name string) (*taggedTag, error) {
	c := Check{Name: "tag", Tag: name, Count: 1}
	t := &taggedTag{renamed: map[string]bool{}, reasons: map[string]bool{}}
	err := v.attempt(ctx, c, func() error {
		var there bool
		var err error
		if t.tagRef, there, err = v.expected.tag(ctx, name); err != nil {
			return err
		}
		if !there {
			c.Bad, c.Detail = 1, "production does not have it at the event"
			status := StatusFailed
			if v.back != nil { // before the tag was made both are without it
				_, here, err := v.staging.tag(ctx, name)
				switch {
				case err != nil:
					return err
				case here:
					c.Detail += ", and staging does"
				default:
					c.Bad, status = 0, StatusSkipped
				}
			}
			v.add(c, status)
			t = nil
			return nil
		}
		if err := v.tags.find(ctx, []tagRef{t.tagRef}); err != nil {
			return err
		}
		here := v.tags.here[t.id]
		t.here = here.tagRef
		if here.err != nil {
			return here.err
		}
		if !here.there {
			c.Bad, c.Detail = 1, "staging does not have it at the event"
			if v.Record.IDs == nil {
				c.Detail += " by production's id or name; with --db it is found under another id, too"
			}
			v.add(c, StatusFailed)
			t = nil
			return nil
		}
		if here.name != name {
			c.Bad, c.Detail = 1, fmt.Sprintf("staging has renamed it to %q: a compose there has to ask for that name", here.name)
		}
		v.add(c, StatusWarning)
		return nil
	})
	if t != nil && t.here.id == 0 {
		t = nil // there is no id to ask by
	}
	return t, err
}

// checkInheritance checks that a tag inherits what it does in production.
func (v tagChecks) checkInheritance(ctx context.Context, t *taggedTag) error {
	c := Check{Name: "inheritance", Tag: t.name}
	return v.attempt(ctx, c, func() error {
		want, err := v.expected.inheritance(ctx, t.tagRef)
		if err != nil {
			return err
		}
		t.order = want
		if err := v.tags.find(ctx, t.parents()); err != nil {
			return err
		}
		have, err := v.staging.inheritance(ctx, t.here)
		if err != nil {
			return err
		}
		t.inherits = have.names
		wantOrder, haveOrder := make([]string, len(want.order)), make([]string, len(have.order))
		for i, id := range want.order {
			wantOrder[i] = want.names[id]
		}
		name := func(id int64) string { return v.tags.names.of(id, have.names[id]) }
		for i, id := range have.order {
			haveOrder[i] = name(id)
			if haveOrder[i] != have.names[id] {
				t.renamed[fmt.Sprintf("tag %s is %q in staging", haveOrder[i], have.names[id])] = true
			}
		}
		c.Count = len(want.order)
		if !slices.Equal(wantOrder, haveOrder) {
			c.Bad++
			c.Detail = "order of search is " + list(haveOrder) + ", in production " + list(wantOrder)
		}
		lines := map[string]bool{}
		for _, l := range want.links {
			lines[l.line(func(id int64) string { return want.names[id] })] = true
		}
		for _, l := range have.links {
			if line := l.line(name); !lines[line] {
				c.bad("%s: not so in production", line)
			}
		}
		v.add(c, StatusFailed)
		return nil
	})
}

// checkFilters reports package filters that could not be evaluated. Staging's database has the same filters. So
// what its hub answers about the builds counts, here and for a compose.
func (v tagChecks) checkFilters(t *taggedTag) {
	t.undecided = map[int64]bool{}
	c := Check{Name: "package filters", Tag: t.name}
	packages := map[string]bool{}
	for _, u := range v.expected.undecided(t.tagRef) {
		for _, b := range u.Builds {
			t.undecided[b.ID] = true
			packages[b.Name] = true
		}
		c.bad("%s", u.Link()+": "+u.Reason)
	}
	if c.Count = c.Bad; c.Bad > 0 {
		c.Detail = fmt.Sprintf("cannot be evaluated; of %d packages staging's hub decides whether the tag has them", len(packages))
		v.add(c, StatusWarning)
	}
}

// parents returns the tags that a tag inherits in production, each once; none if that is not known.
func (t *taggedTag) parents() []tagRef {
	var refs []tagRef
	if t.order == nil {
		return nil
	}
	seen := map[int64]bool{t.id: true}
	for _, id := range t.order.order {
		if !seen[id] {
			seen[id] = true
			refs = append(refs, tagRef{id, t.order.names[id]})
		}
	}
	return refs
}

func list(names []string) string {
	if len(names) == 0 {
		return "empty"
	}
	return strings.Join(names, ", ")
}

// checkHidden lists the packages where a compose that is not pinned at the event takes staging's own build,
// because staging tagged it after the event.
func (v tagChecks) checkHidden(ctx context.Context, t *taggedTag) error {
	if v.back != nil {
		return nil // what production has now hides most of an earlier event
	}
	latest := func(kwargs map[string]any) (map[string]string, error) {
		kwargs["inherit"], kwargs["latest"] = true, true
		builds := map[string]string{}
		call := hub.Call{Method: "listTagged", Args: []any{t.here.id}, Kwargs: kwargs}
		err := v.staging.stream(ctx, call, func() { clear(builds) }, func(r hub.Row) {
			b := newTaggedBuild(r)
			builds[b.name] = b.nvr()
		})
		return builds, err
	}
	c := Check{Name: "hidden", Tag: t.name}
	return v.attempt(ctx, c, func() error {
		exists, err := v.Hub.Call(ctx, hub.Call{Method: "getTag", Args: []any{t.here.id}})
		if err != nil {
			return v.staging.failed(err)
		}
		if exists.IsNil() {
			c.Count, c.Bad, c.Detail = 1, 1, "staging has deleted the tag: only a compose that is pinned at the event finds it"
			v.add(c, StatusWarning)
			return nil
		}
		pinned, err := latest(v.staging.at(map[string]any{}))
		if err != nil {
			return err
		}
		now, err := latest(map[string]any{})
		if err != nil {
			return err
		}
		c.Count, c.Detail = len(pinned), "packages whose latest build now is production's, too"
		for name, production := range pinned {
			switch staging := now[name]; staging {
			case production:
			case "":
				c.bad("%s: %s is not tagged any longer, or blocked, in staging", name, production)
			default:
				c.bad("%s: staging's %s hides production's %s", name, staging, production)
			}
		}
		if c.Bad > 0 {
			c.Detail = "packages where staging's own changes hide production's build from a compose that is not pinned at the event"
		}
		v.add(c, StatusWarning)
		return nil
	})
}

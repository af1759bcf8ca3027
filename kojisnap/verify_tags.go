package kojisnap

import (
	"context"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
)

// checkTag checks that staging has a tag, and that it inherits what it does in production.
func (v *verifier) checkTag(ctx context.Context, tag string) (there bool, err error) {
	want, err := v.expected.inheritance(ctx, tag)
	if err != nil {
		return false, err
	}
	have, err := v.staging.inheritance(ctx, tag)
	if err != nil {
		return false, err
	}
	c := Check{Name: "tag", Tag: tag, Count: 1}
	switch {
	case have == nil:
		c.Bad, c.Detail = 1, "staging does not have it at the event"
	case want == nil:
		c.Bad, c.Detail = 1, "production does not have it at the event"
	}
	v.add(c, StatusFailed)
	if c.Bad > 0 {
		return false, nil
	}
	c = Check{Name: "inheritance", Tag: tag, Count: len(want.order)}
	if !slices.Equal(want.order, have.order) {
		c.Bad++
		c.Detail = "order of search is " + list(have.order) + ", in production " + list(want.order)
	}
	for line := range have.links {
		if !want.links[line] {
			c.bad("%s: not so in production", line)
		}
	}
	v.add(c, StatusFailed)
	return true, nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "empty"
	}
	return strings.Join(names, ", ")
}

// checkHidden lists the packages where what staging has tagged itself, after the event, takes
// the place of what production has: a compose that is not pinned at the event takes that.
func (v *verifier) checkHidden(ctx context.Context, tag string) error {
	latest := func(kwargs map[string]any) (map[string]string, error) {
		kwargs["inherit"], kwargs["latest"] = true, true
		builds := map[string]string{}
		err := v.Hub.Stream(ctx, hub.Call{Method: "listTagged", Args: []any{tag}, Kwargs: kwargs}, func(r hub.Row) error {
			name := text(r.Get("package_name"))
			builds[name] = name + "-" + text(r.Get("version")) + "-" + text(r.Get("release"))
			return nil
		})
		return builds, err
	}
	pinned, err := latest(v.staging.at(map[string]any{}))
	if err != nil {
		return err
	}
	now, err := latest(map[string]any{})
	if err != nil {
		return err
	}
	c := Check{Name: "hidden", Tag: tag, Count: len(pinned), Detail: "packages of which production's build is the latest now, too"}
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
}

package verify

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// checkContentTags looks for the tags that have the rpms of modules, as a compose does: by the name in the module
// build. If a tag is missing, a compose of the module fails. A build that names no possible tag is the same in
// production, so that is a warning.
func (v moduleChecks) checkContentTags(ctx context.Context, t *taggedTag) error {
	if len(t.modules) == 0 {
		return nil
	}
	c := checkOf("content tags", t.name)
	return v.attempt(ctx, c, func() error {
		nameless := checkOf("content tags", t.name)
		nameless.Detail = "module builds that a compose cannot take, in production either"
		named, err := v.namedContent(ctx, t, &c, &nameless)
		if err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(named))
		calls := make([]hub.Call, len(names))
		for i, name := range names {
			calls[i] = hub.Call{Method: "getTag", Args: []any{name}, Kwargs: v.staging.at(map[string]any{})}
		}
		tags, err := v.staging.multi(ctx, calls)
		if err != nil {
			return err
		}
		c.Count = len(names) + c.Bad
		for i, name := range names {
			why := ""
			if tags[i].Err != nil {
				why = oneline.Of(v.staging.failed(tags[i].Err)).Error()
			} else {
				_, there := tags[i].Value.Field("id").Int()
				if why, err = v.noContentTag(ctx, named[name], name, there); err != nil {
					return err
				}
			}
			if why != "" {
				// The tag is one thing, however many builds name it.
				c.bad("%s of module %s: %s", name, list(named[name]), why)
			}
		}
		if c.Count > 0 {
			v.add(c, StatusFailed)
		}
		if nameless.Count = nameless.Bad; nameless.Bad > 0 {
			v.add(nameless, StatusWarning)
		}
		return nil
	})
}

// namedContent returns the content tags that the modules of a tag name, each with the names of the module builds.
// Builds that cannot be asked for go to c, builds that name no tag to nameless.
func (v moduleChecks) namedContent(ctx context.Context, t *taggedTag, c, nameless *Check) (map[string][]string, error) {
	calls := make([]hub.Call, len(t.modules))
	for i, b := range t.modules {
		calls[i] = hub.Call{Method: "getBuild", Args: []any{b.id}}
	}
	infos, err := v.staging.multi(ctx, calls)
	if err != nil {
		return nil, err
	}
	named := map[string][]string{}
	for i, info := range infos {
		nvr := t.modules[i].identity()
		if info.Err != nil {
			c.bad("%s: %v", nvr, oneline.Of(v.staging.failed(info.Err)))
			continue
		}
		extra := info.Value.Field("extra")
		content := extra.Field("typeinfo").Field("module").Field("content_koji_tag")
		name, err := tagged.CheckContentTag(content.Any())
		if err = cmp.Or(extra.Bad(), content.Bad(), err); err != nil {
			nameless.bad("%s: %v", nvr, err)
			continue
		}
		named[name] = append(named[name], nvr)
	}
	for _, nvrs := range named {
		slices.Sort(nvrs)
	}
	return named, nil
}

// noContentTag says why a compose cannot take the rpms of module builds from their content tag; empty if it can.
// there says that staging has a tag of that name. That is not enough: if the tag is not in the snapshot's scope,
// an earlier load made it, and no load updates it any longer.
func (v moduleChecks) noContentTag(ctx context.Context, nvrs []string, name string, there bool) (string, error) {
	const (
		notPulled = "it was not pulled: pull it, with --content-tags, or by its name"
		notLoaded = "staging does not have it: load the snapshot"
		notThere  = " at the event, so that a compose of the module fails there, too"
	)
	if v.Snapshot == nil {
		_, inProduction, err := hubAnswers{hub: v.Against, side: "production's", event: v.Event}.tag(ctx, name)
		switch {
		case err != nil:
			return "", err
		case !inProduction:
			return "production does not have it" + notThere, nil
		case !there:
			return notPulled, nil
		}
		return "", nil
	}
	scope := v.Snapshot.Manifest.Scope
	i := slices.IndexFunc(scope.Content, func(m snapfile.Content) bool { return m.Tag == name && slices.Contains(nvrs, m.NVR) })
	switch {
	case i >= 0 && !scope.Content[i].Follows():
		return scope.Content[i].Missing + notThere, nil
	case !slices.ContainsFunc(scope.All, func(t snapfile.Tag) bool { return t.Name == name }):
		return notPulled, nil
	case !there && v.back != nil: // before the tag was made both are without it
		if _, inProduction, err := v.expected.tag(ctx, name); err != nil || !inProduction {
			return "", err
		}
		return notLoaded, nil
	case !there:
		return notLoaded, nil
	}
	return "", nil
}

package kojisnap

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"kojisnap/kojisnap/hub"
)

// externalRepo is a row of tag_external_repos. Their URLs may be staging's own, so they are not
// looked at.
type externalRepo struct {
	tag, id, priority       int64
	name, mergeMode, arches string
}

func (e externalRepo) line(tag, name string) string {
	return fmt.Sprintf("%s has external repo %s: priority %d, mode %s, arches %s", tag, name, e.priority, cmp.Or(e.mergeMode, "koji"), cmp.Or(e.arches, "all"))
}

// checkExternalRepos checks that a tag and what it inherits have production's external repos:
// newRepo merges them.
func (v *verifier) checkExternalRepos(ctx context.Context, t *taggedTag) error {
	c := Check{Name: "external repos", Tag: t.name}
	return v.attempt(ctx, c, func() error {
		tags := append([]tagRef{t.tagRef}, t.parents()...)
		var here []tagRef
		for _, tag := range tags {
			h := v.here[tag.id]
			if h == nil {
				continue
			}
			// One that is inherited though it was deleted is asked for, too.
			if _, inherited := t.inherits[h.id]; inherited || h.there || h.err != nil {
				here = append(here, h.tagRef)
			}
		}
		want, wantErrs := v.expected.externalRepos(ctx, tags)
		have, haveErrs := v.staging.externalRepos(ctx, here)
		for _, err := range append(wantErrs, haveErrs...) {
			if gone := gone(ctx, err); gone != nil {
				return gone
			}
			c.bad("%v", oneLine{err})
		}
		repos := newNames(v.Record.IDs["external_repo"])
		tagName := map[int64]string{}
		for _, tag := range tags {
			tagName[tag.id] = tag.name
		}
		lines := map[string]bool{}
		for _, e := range want {
			repos.production[e.id] = e.name
			lines[e.line(tagName[e.tag], e.name)] = true
		}
		c.Count = len(lines)
		found := map[string]bool{}
		for _, e := range have {
			name := repos.of(e.id, e.name)
			if name != e.name {
				t.renamed[fmt.Sprintf("external repo %s is %q in staging", name, e.name)] = true
			}
			found[e.line(v.tagNames.of(e.tag, ""), name)] = true
		}
		for line := range lines {
			if !found[line] && len(haveErrs) == 0 {
				c.bad("%s: not so in staging", line)
			}
		}
		for line := range found {
			if !lines[line] && len(wantErrs) == 0 {
				c.bad("%s: not so in production", line)
			}
		}
		v.add(c, StatusFailed)
		return nil
	})
}

// externalRepos asks for each tag's own: the whole list would show of two of one repo the
// first only.
func (a hubAnswers) externalRepos(ctx context.Context, tags []tagRef) (repos []externalRepo, errs []error) {
	calls := make([]hub.Call, len(tags))
	for i, tag := range tags {
		calls[i] = hub.Call{Method: "getTagExternalRepos", Kwargs: a.at(map[string]any{"tag_info": tag.id})}
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return nil, []error{err}
	}
	for i, tag := range tags {
		if err := results[i].Err; err != nil {
			var call *hub.CallError
			if errors.As(err, &call) {
				err = call.Err
			}
			errs = append(errs, a.failed(fmt.Errorf("external repos of tag %s: %w", tag.name, err)))
			continue
		}
		for _, r := range results[i].Value.Items() {
			repos = append(repos, externalRepo{tag: tag.id, id: number(r.Field("external_repo_id")), name: text(r.Field("external_repo_name")),
				priority: number(r.Field("priority")), mergeMode: text(r.Field("merge_mode")), arches: text(r.Field("arches"))})
		}
	}
	return repos, errs
}

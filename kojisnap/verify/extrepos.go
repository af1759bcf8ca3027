package verify

import (
	"cmp"
	"context"
	"fmt"

	"kojisnap/kojisnap/oneline"
)

// externalRepo is a row of tag_external_repos, without the URL: staging may have URLs of its own.
type externalRepo struct {
	tag, id, priority       int64
	name, mergeMode, arches string
}

func (e externalRepo) line(tag, name string) string {
	return fmt.Sprintf("%s has external repo %s: priority %d, mode %s, arches %s", tag, name, e.priority, cmp.Or(e.mergeMode, "koji"), cmp.Or(e.arches, "all"))
}

// checkExternalRepos checks that a tag and what it inherits have production's external repos:
// newRepo merges them.
func (v tagChecks) checkExternalRepos(ctx context.Context, t *taggedTag) error {
	c := Check{Name: "external repos", Tag: t.name}
	return v.attempt(ctx, c, func() error {
		tags := append([]tagRef{t.tagRef}, t.parents()...)
		var here []tagRef
		for _, tag := range tags {
			h := v.tags.here[tag.id]
			if h == nil {
				continue
			}
			// A deleted tag that is still inherited is asked for, too.
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
			c.bad("%v", oneline.Of(err))
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
			found[e.line(v.tags.names.of(e.tag, ""), name)] = true
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

package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/tagged"
)

// checkExternalRepos checks that a tag and what it inherits have production's external repos:
// newRepo merges them. Their URLs may be staging's own, so they are not looked at.
func (v *verifier) checkExternalRepos(ctx context.Context, tag string) error {
	in, err := v.expected.inheritance(ctx, tag)
	if err != nil || in == nil {
		return err
	}
	tags := append([]string{tag}, in.order...)
	want, err := v.expected.externalRepos(ctx, tags)
	if err != nil {
		return err
	}
	have, err := v.staging.externalRepos(ctx, tags)
	if err != nil {
		return err
	}
	c := Check{Name: "external repos", Tag: tag, Count: len(want)}
	for line := range want {
		if !have[line] {
			c.bad("%s: not so in staging", line)
		}
	}
	for line := range have {
		if !want[line] {
			c.bad("%s: not so in production", line)
		}
	}
	v.add(c, StatusFailed)
	return nil
}

func externalRepoLine(tag, repo string, priority int64, mergeMode, arches string) string {
	return fmt.Sprintf("%s has external repo %s: priority %d, mode %s, arches %s", tag, repo, priority, or(mergeMode, "koji"), or(arches, "all"))
}

// externalRepos asks for each tag's own: the whole list would show of two of one repo the
// first only.
func (a hubAnswers) externalRepos(ctx context.Context, tags []string) (map[string]bool, error) {
	calls := make([]hub.Call, len(tags))
	for i, tag := range tags {
		calls[i] = hub.Call{Method: "getTagExternalRepos", Kwargs: a.at(map[string]any{"tag_info": tag})}
	}
	lines := map[string]bool{}
	err := a.hub.StreamMulti(ctx, calls, func(i int, r hub.Row) error {
		lines[externalRepoLine(tags[i], text(r.Get("external_repo_name")), number(r.Get("priority")),
			text(r.Get("merge_mode")), text(r.Get("arches")))] = true
		return nil
	})
	return lines, err
}

func (a *snapshotAnswers) externalRepos(ctx context.Context, tags []string) (map[string]bool, error) {
	wanted := map[int64]string{}
	for _, tag := range tags {
		wanted[a.view.Tags[tag]] = tag
	}
	names := map[int64]string{}
	if err := tagged.Each(ctx, a.snap, "external_repo", func(r tagged.Row) { names[r.Int("id")] = r.Text("name") }); err != nil {
		return nil, err
	}
	lines := map[string]bool{}
	err := tagged.Each(ctx, a.snap, "tag_external_repos", func(r tagged.Row) {
		if tag, ok := wanted[r.Int("tag_id")]; ok {
			lines[externalRepoLine(tag, names[r.Int("external_repo_id")], r.Int("priority"), r.Text("merge_mode"), r.Text("arches"))] = true
		}
	})
	return lines, err
}

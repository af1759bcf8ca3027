package kojisnap

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/tagged"
)

// tasks checks what composes need that run tasks in staging: channels with builders for the
// tags' arches, targets, repositories. A compose that only reads runs without, so what lacks
// is a warning. All of it is as of now: it is staging's own.
func (v *verifier) tasks(ctx context.Context) error {
	if err := v.readArches(ctx); err != nil {
		return err
	}
	if err := v.checkChannels(ctx); err != nil {
		return err
	}
	targets, err := v.targets(ctx)
	if err != nil {
		return err
	}
	for _, tag := range v.Want.Tags {
		if v.listings[tag] == nil {
			continue
		}
		c := Check{Name: "targets", Tag: tag, Count: len(targets[tag])}
		if c.Count == 0 {
			c.Status, c.Detail = StatusWarning, "no build target builds from it or for it"
		}
		v.add(c, StatusWarning)
	}
	return v.checkRepos(ctx, targets)
}

// readArches asks for the arches of each tag's configuration, inherited ones too.
func (v *verifier) readArches(ctx context.Context) error {
	for _, tag := range v.Want.Tags {
		l := v.listings[tag]
		if l == nil {
			continue
		}
		l.tag = tag
		config, err := v.Hub.Call(ctx, hub.Call{Method: "getBuildConfig", Args: []any{tag}, Kwargs: v.staging.at(map[string]any{})})
		if err != nil {
			return err
		}
		v.arches[tag] = strings.Fields(text(config.Field("arches")))
	}
	return nil
}

// checkChannels checks the channel createrepo, where repositories are made, and compose, which
// sites make for what composes run, where staging or production has it.
func (v *verifier) checkChannels(ctx context.Context) error {
	names := map[string]bool{}
	if v.Snapshot != nil {
		err := tagged.Each(ctx, v.Snapshot, "channels", func(r tagged.Row) { names[r.Text("name")] = true })
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"createrepo", "compose"} {
		channel, err := v.Hub.Call(ctx, hub.Call{Method: "getChannel", Args: []any{name}})
		if err != nil {
			return err
		}
		c := Check{Name: "channel " + name, Count: 1}
		id, there := channel.Field("id").Int()
		enabled, known := channel.Field("enabled").Bool()
		switch {
		case !there && name == "compose" && !names[name]:
			continue
		case !there:
			c.Bad, c.Detail = 1, "staging has no such channel"
		case known && !enabled: // hubs before 1.26 do not say
			c.Bad, c.Detail = 1, "the channel is disabled"
		default:
			if c, err = v.checkHosts(ctx, c, id); err != nil {
				return err
			}
		}
		v.add(c, StatusWarning)
	}
	return nil
}

// checkHosts looks for enabled hosts of a channel for each arch of the tags.
func (v *verifier) checkHosts(ctx context.Context, c Check, channel int64) (Check, error) {
	var arches []string
	for _, tag := range v.Want.Tags {
		arches = append(arches, v.arches[tag]...)
	}
	slices.Sort(arches)
	arches = slices.Compact(arches)
	has := map[string]bool{}
	hosts, ready := 0, 0
	call := hub.Call{Method: "listHosts", Kwargs: map[string]any{"channelID": channel, "enabled": true}}
	err := v.Hub.Stream(ctx, call, func(r hub.Row) error {
		hosts++
		if is, _ := r.Get("ready").Bool(); is {
			ready++
		}
		for _, arch := range strings.Fields(text(r.Get("arches"))) {
			has[canonical(arch)] = true
		}
		return nil
	})
	c.Count = len(arches)
	c.Detail = fmt.Sprintf("arches, by %d enabled hosts, %d of them ready", hosts, ready)
	for _, arch := range arches {
		if !has[canonical(arch)] {
			c.bad("%s: no enabled host", arch)
		}
	}
	if hosts == 0 && c.Bad == 0 {
		c.Count, c.Bad, c.Detail = 1, 1, "no enabled host"
	}
	return c, err
}

// target is a build target of a tag.
type target struct{ name, build string }

// targets are staging's build targets by their build and destination tags.
func (v *verifier) targets(ctx context.Context) (map[string][]target, error) {
	targets := map[string][]target{}
	err := v.Hub.Stream(ctx, hub.Call{Method: "getBuildTargets"}, func(r hub.Row) error {
		t := target{text(r.Get("name")), text(r.Get("build_tag_name"))}
		dest := text(r.Get("dest_tag_name"))
		targets[t.build] = append(targets[t.build], t)
		if dest != t.build {
			targets[dest] = append(targets[dest], t)
		}
		return nil
	})
	return targets, err
}

// checkRepos looks for a ready repository of each tag that the targets build from.
func (v *verifier) checkRepos(ctx context.Context, targets map[string][]target) error {
	var tags []string
	for _, tag := range v.Want.Tags {
		for _, t := range targets[tag] {
			if v.listings[tag] != nil {
				tags = append(tags, t.build)
			}
		}
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) == 0 {
		return nil
	}
	calls := make([]hub.Call, len(tags))
	for i, tag := range tags {
		calls[i] = hub.Call{Method: "getRepo", Args: []any{tag}}
	}
	results, err := v.Hub.Multi(ctx, calls)
	if err != nil {
		return err
	}
	for i, tag := range tags {
		c := Check{Name: "repo", Tag: tag, Count: 1}
		if results[i].Err != nil {
			c.Bad, c.Detail = 1, oneLine{results[i].Err}.Error()
		} else if _, there := results[i].Value.Field("id").Int(); !there {
			c.Bad, c.Detail = 1, "no ready repository to build from: koji regen-repo makes one"
		}
		v.add(c, StatusWarning)
	}
	return nil
}

package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/tagged"
)

// taskChecks look for what composes need that run tasks in staging.
type taskChecks struct{ *verifier }

// checkTasks checks what composes need that run tasks in staging: channels with builders for the tags' arches,
// targets, repositories. A compose that only reads does not need them, so what is missing is a warning. All
// of this is staging's own, and checked as it is now.
func (v taskChecks) checkTasks(ctx context.Context) error {
	for _, step := range []func(context.Context) error{v.readArches, v.checkChannels, v.checkTargets} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// readArches asks for the arches of each tag's configuration, inherited ones included.
func (v taskChecks) readArches(ctx context.Context) error {
	for _, tag := range v.Want.Tags {
		if v.listings[tag] == nil {
			continue
		}
		c := Check{Name: "arches", Tag: tag}
		err := v.attempt(ctx, c, func() error {
			var err error
			v.arches[tag], err = v.staging.arches(ctx, v.listings[tag].tag)
			if err == nil || gone(ctx, err) != nil {
				return err
			}
			// A tag that inherits one that was deleted: the call is a fault in production as well.
			if t, _, e := v.expected.tag(ctx, tag); e == nil {
				if same := v.expected.config(ctx, t); same != nil && gone(ctx, same) == nil {
					c.Count, c.Bad, c.Detail = 1, 1, oneline.Of(err).Error()+"; production cannot answer this either"
					v.add(c, StatusWarning)
					return nil
				}
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkChannels checks the channel createrepo, in which repositories are made, and, if staging or production has
// it, the channel compose, which sites make for the tasks of composes.
func (v taskChecks) checkChannels(ctx context.Context) error {
	production := map[string]bool{}
	if v.Snapshot != nil {
		err := tagged.Each(ctx, v.Snapshot, "channels", func(r tagged.Row) { production[r.Text("name")] = true })
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"createrepo", "compose"} {
		c := Check{Name: "channel " + name, Count: 1}
		err := v.attempt(ctx, c, func() error {
			// By name, as Koji does when it makes a task.
			channel, err := v.Hub.Call(ctx, hub.Call{Method: "getChannel", Args: []any{name}})
			if err != nil {
				return v.staging.failed(err)
			}
			id, there := channel.Field("id").Int()
			enabled, known := channel.Field("enabled").Bool()
			switch {
			case !there && name == "compose" && !production[name]:
				return nil
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
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// checkHosts looks for enabled hosts of a channel for each arch of the tags.
func (v taskChecks) checkHosts(ctx context.Context, c Check, channel int64) (Check, error) {
	var arches []string
	for _, tag := range v.Want.Tags {
		arches = append(arches, v.arches[tag]...)
	}
	slices.Sort(arches)
	arches = slices.Compact(arches)
	has := map[string]bool{}
	hosts, ready := 0, 0
	call := hub.Call{Method: "listHosts", Kwargs: map[string]any{"channelID": channel, "enabled": true}}
	err := v.staging.stream(ctx, call, func() { hosts, ready = 0, 0 }, func(r hub.Row) {
		hosts++
		if is, _ := r.Get("ready").Bool(); is {
			ready++
		}
		for _, arch := range strings.Fields(text(r.Get("arches"))) {
			has[canonical(arch)] = true
		}
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

// target is a build target, by the tags' ids.
type target struct {
	build, dest int64
	buildName   string
}

// checkTargets looks for targets that build from the tags or for them, and for a ready repository of each tag
// from which those targets build.
func (v taskChecks) checkTargets(ctx context.Context) error {
	return v.attempt(ctx, Check{Name: "targets"}, func() error {
		var targets []target
		err := v.staging.stream(ctx, hub.Call{Method: "getBuildTargets"}, func() { targets = nil }, func(r hub.Row) {
			targets = append(targets, target{number(r.Get("build_tag")), number(r.Get("dest_tag")), text(r.Get("build_tag_name"))})
		})
		if err != nil {
			return err
		}
		needed := map[string]int64{}
		for _, tag := range v.Want.Tags {
			l := v.listings[tag]
			if l == nil || v.content[tag] { // only the module build system builds from or for those
				continue
			}
			c := Check{Name: "targets", Tag: tag}
			for _, t := range targets {
				if t.build == l.tag.id || t.dest == l.tag.id {
					c.Count++
					needed[t.buildName] = t.build
				}
			}
			if c.Count == 0 {
				c.Status, c.Detail = StatusWarning, "no build target builds from it or for it"
			}
			v.add(c, StatusWarning)
		}
		return v.checkRepos(ctx, needed)
	})
}

// checkRepos looks for a ready repository of each of the tags.
func (v taskChecks) checkRepos(ctx context.Context, tags map[string]int64) error {
	if len(tags) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(tags))
	calls := make([]hub.Call, len(names))
	for i, name := range names {
		calls[i] = hub.Call{Method: "getRepo", Args: []any{tags[name]}}
	}
	return v.attempt(ctx, Check{Name: "repo"}, func() error {
		results, err := v.staging.multi(ctx, calls)
		if err != nil {
			return err
		}
		for i, name := range names {
			c, status := Check{Name: "repo", Tag: name, Count: 1}, StatusWarning
			if results[i].Err != nil {
				c.Bad, c.Detail = 1, oneline.Of(v.staging.failed(results[i].Err)).Error()
				status = StatusFailed
			} else if _, there := results[i].Value.Field("id").Int(); !there {
				c.Bad, c.Detail = 1, "no ready repository to build from: koji regen-repo makes one"
			}
			v.add(c, status)
		}
		return nil
	})
}

package integration_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/relation"
)

// question is a call about a tag, and how its answers are to be compared.
type question struct {
	method string
	tag    string         // the argument that names the tag; empty: the first
	kwargs map[string]any // besides the event
	id     string         // the relation that "id" is of, in the answer
	drop   []string       // what is not versioned, and so is today's on both sides
	sorted bool           // the order of the answer means nothing
}

var ofBuild = []string{"name", "nvr", "owner_id", "promoter_id", "state", "completion_time", "promotion_time", "start_time", "creation_time",
	"creation_event_id", "volume_id", "task_id", "epoch", "extra"}

// questions are what Pungi, kojira, newRepo and distRepo ask about a tag.
var questions = []question{
	{method: "getTag", id: "tag", drop: []string{"name", "perm"}},
	{method: "getTag", kwargs: map[string]any{"blocked": true}, id: "tag", drop: []string{"name", "perm"}},
	{method: "getBuildConfig", id: "tag", drop: []string{"name", "perm"}},
	{method: "getInheritanceData", drop: []string{"name"}},
	{method: "getFullInheritance", drop: []string{"name"}},
	{method: "getTagGroups", kwargs: map[string]any{"incl_blocked": true}, drop: []string{"name"}, sorted: true},
	{method: "getTagGroups", drop: []string{"name"}, sorted: true},
	{method: "getTagExternalRepos"},
	{method: "getExternalRepoList"},
	{method: "listPackages", tag: "tagID", kwargs: map[string]any{"inherited": true, "with_dups": true}, sorted: true},
	{method: "listPackages", tag: "tagID", kwargs: map[string]any{"with_blocked": false}, sorted: true},
	{method: "listTagged", kwargs: map[string]any{"inherit": false}, drop: ofBuild},
	{method: "listTagged", kwargs: map[string]any{"inherit": true}, drop: ofBuild},
	{method: "listTagged", kwargs: map[string]any{"inherit": true, "latest": true}, drop: ofBuild},
	{method: "listTagged", kwargs: map[string]any{"inherit": true, "latest": true, "type": "image"}, drop: ofBuild},
	{method: "getLatestBuilds", drop: ofBuild},
	{method: "listTaggedRPMS", kwargs: map[string]any{"inherit": true, "latest": true}, drop: append([]string{"buildroot_id", "draft"}, ofBuild...), sorted: true},
	{method: "listTaggedRPMS", kwargs: map[string]any{"inherit": true, "latest": true, "arch": "x86_64"}, drop: append([]string{"buildroot_id", "draft"}, ofBuild...), sorted: true},
}

// idsIn has the relation of an id, by the name of the member that holds the id.
var idsIn = map[string]string{"tag_id": "tag", "parent_id": "tag", "child_id": "tag", "build_tag": "tag", "dest_tag": "tag", "perm_id": "permissions",
	"package_id": "package", "owner_id": "users", "external_repo_id": "external_repo", "group_id": "groups", "req_id": "groups"}

// asking compares the answers of both hubs, at events that were loaded.
type asking struct {
	ids    mapping
	truth  *truth
	here   state           // staging's versioned rows of production's, with production's ids
	builds map[string]bool // packages of builds that are not the same on both sides today
}

func newAsking(after state, h *truth) *asking {
	a := &asking{ids: readMapping(after), truth: h, here: state{}, builds: map[string]bool{}}
	for _, r := range relation.All() {
		if !r.Versioned {
			continue
		}
		a.here[r.Name] = productionRows(r, after, a.ids)
	}
	of := func(table string) map[string]map[string]row {
		out := map[string]map[string]row{}
		for key, d := range after[table] {
			if out[d["build_id"]] == nil {
				out[d["build_id"]] = map[string]row{}
			}
			out[d["build_id"]][key] = a.ids.production(relation.Get(table), d)
		}
		return out
	}
	rpms, types := of("rpminfo"), of("build_types")
	same := func(a, b map[string]row) bool {
		return maps.EqualFunc(a, b, func(x, y row) bool {
			return maps.Equal(pick(x, []string{"name", "version", "release", "arch", "epoch", "payloadhash", "size"}), pick(y, []string{"name", "version", "release", "arch", "epoch", "payloadhash", "size"}))
		})
	}
	columns := []string{"pkg_id", "version", "release", "state", "draft"}
	for id, b := range h.builds {
		d := a.ids.production(relation.Get("build"), after["build"]["id="+id])
		if !maps.Equal(pick(b, columns), pick(d, columns)) || !same(h.rpms[id], rpms[id]) || !same(h.types[id], types[id]) {
			a.builds[b["pkg_id"]] = true
		}
	}
	return a
}

// differing returns the tags that differ between the two sides at an event, because a row is out of the
// scope, was committed late, or could not go in: such rows are judged separately. It also returns the targets
// that differ.
func (a *asking) differing(event int) (tags, targets map[string]bool) {
	tags, targets = map[string]bool{}, map[string]bool{}
	repos := map[string]bool{}
	for rel, rows := range a.truth.rows {
		differs := func(d row) {
			for _, c := range []string{"tag_id", "build_tag", "dest_tag"} {
				tags[d[c]] = true
			}
			targets[d["build_target_id"]] = true
			if rel == "external_repo_config" {
				repos[d["external_repo_id"]] = true
			}
		}
		for key, d := range rows {
			if h := a.here[rel][key]; visible(d, event) != visible(h, event) || visible(d, event) && !maps.Equal(immutable(d), immutable(h)) {
				differs(d)
			}
		}
		for key, h := range a.here[rel] {
			if visible(h, event) && !visible(rows[key], event) {
				differs(h)
			}
		}
	}
	for _, d := range a.truth.rows["tag_external_repos"] {
		if repos[d["external_repo_id"]] && visible(d, event) {
			tags[d["tag_id"]] = true
		}
	}
	return tags, targets
}

// lineage is a tag of production's and all that it inherits from at an event.
func (a *asking) lineage(tag string, event int) []string {
	all := []string{tag}
	for i := 0; i < len(all); i++ {
		for _, l := range a.truth.rows["tag_inheritance"] {
			if l["tag_id"] == all[i] && visible(l, event) && !slices.Contains(all, l["parent_id"]) {
				all = append(all, l["parent_id"])
			}
		}
	}
	return all
}

// call is a question to production about a tag, and the same to staging.
func (a *asking) call(q question, tag string, event int) (prod, staging hub.Call) {
	ask := func(id string) hub.Call {
		k := maps.Clone(q.kwargs)
		if k == nil {
			k = map[string]any{}
		}
		k["event"] = event
		n := (row{"id": id}).id("id")
		if q.tag != "" {
			k[q.tag] = n
			return hub.Call{Method: q.method, Kwargs: k}
		}
		return hub.Call{Method: q.method, Args: []any{n}, Kwargs: k}
	}
	there := tag
	if id, ok := a.ids.to["tag"][tag]; ok {
		there = id
	}
	return ask(tag), ask(there)
}

// plain brings an answer into a form that can be compared: with production's ids, without names, and without
// anything that is not versioned. It drops builds of each package that has a build which differs today.
func (a *asking) plain(q question, v any, ids map[string]map[string]string) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			rel := idsIn[k]
			if k == "id" {
				rel = q.id
			}
			switch {
			case strings.HasSuffix(k, "_name") || slices.Contains(q.drop, k):
			case rel != "" && x != nil:
				id := fmt.Sprint(x)
				if p, ok := ids[rel][id]; ok {
					id = p
				}
				out[k] = id
			default:
				out[k] = a.plain(q, x, ids)
			}
		}
		return out
	case []any:
		out := []any{}
		for _, x := range v {
			if m, ok := x.(map[string]any); !ok || !a.skips(m, ids) {
				out = append(out, a.plain(q, x, ids))
			}
		}
		if q.sorted {
			slices.SortFunc(out, func(x, y any) int { return strings.Compare(fmt.Sprint(x), fmt.Sprint(y)) })
		}
		return out
	}
	return v
}

// skips reports whether an entry is about a build of a package that has a build which differs today.
func (a *asking) skips(m map[string]any, ids map[string]map[string]string) bool {
	build, ok := m["build_id"]
	if !ok {
		return false
	}
	pkg := a.truth.builds[fmt.Sprint(build)]["pkg_id"]
	if id, ok := m["package_id"]; ok {
		pkg = fmt.Sprint(id)
		if p, ok := ids["package"][pkg]; ok {
			pkg = p
		}
	}
	return a.builds[pkg]
}

// compareAnswers asks both hubs about tags at every event that was loaded, some of the questions
// at random, and returns what differs, and how many answers were compared.
func (g *merging) compareAnswers(t *testing.T, after state, rnd *rand.Rand, share int) (problems []string, asked int) {
	a := newAsking(after, g.model.truth)
	var questionsOf []question
	var prod, staging []hub.Call
	for _, l := range g.model.loaded {
		differ, targets := a.differing(l.event)
		for _, tag := range sorted(l.in.tags) {
			if l.undone.tags[tag] || slices.ContainsFunc(a.lineage(tag, l.event), func(t string) bool { return differ[t] || a.truth.names["tag"]["id="+t] == nil }) {
				continue
			}
			for _, q := range questions {
				if rnd.IntN(share) > 0 {
					continue
				}
				p, s := a.call(q, tag, l.event)
				questionsOf, prod, staging = append(questionsOf, q), append(prod, p), append(staging, s)
			}
		}
		problems = append(problems, g.compareTargets(t, a, l, targets)...)
	}
	want, err := g.prod.Multi(t.Context(), prod)
	must(t, err)
	got, err := g.staging.Multi(t.Context(), staging)
	must(t, err)
	for i, q := range questionsOf {
		if want[i].Err != nil || got[i].Err != nil {
			if want[i].Err == nil || got[i].Err == nil {
				problems = append(problems, fmt.Sprintf("%s: production %v, staging %v", prod[i], want[i].Err, got[i].Err))
			}
			continue
		}
		asked++
		if diff := differ("", a.plain(q, want[i].Value.Any(), nil), a.plain(q, got[i].Value.Any(), a.ids.back)); diff != "" {
			problems = append(problems, fmt.Sprintf("%s, of staging %s: %s", prod[i], staging[i], diff))
		}
	}
	return problems, asked
}

// compareTargets asks both hubs for the targets whose tags are in the scope.
func (g *merging) compareTargets(t *testing.T, a *asking, l *loaded, differ map[string]bool) (problems []string) {
	q := question{method: "getBuildTargets", id: "build_target", drop: []string{"name"}, sorted: true}
	call := hub.Call{Method: q.method, Kwargs: map[string]any{"event": l.event}}
	var answers []any
	for _, side := range []struct {
		client *hub.Client
		ids    map[string]map[string]string
	}{{g.prod, nil}, {g.staging, a.ids.back}} {
		v, err := side.client.Call(t.Context(), call)
		must(t, err)
		var in []any
		for _, x := range a.plain(q, v.Any(), side.ids).([]any) {
			m := x.(map[string]any)
			d := row{"build_target_id": fmt.Sprint(m["id"]), "build_tag": fmt.Sprint(m["build_tag"]), "dest_tag": fmt.Sprint(m["dest_tag"])}
			if r := relation.Get("build_target_config"); l.compared(r, d) && !differ[d["build_target_id"]] {
				in = append(in, x)
			}
		}
		answers = append(answers, in)
	}
	if diff := differOf(answers); diff != "" {
		problems = append(problems, fmt.Sprintf("%s: %s", call, diff))
	}
	return problems
}

func differOf(answers []any) string { return differ("", answers[0], answers[1]) }

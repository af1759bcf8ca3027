package integration_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/seedtest"
)

// TestSameAnswers asks production's hub and staging's, after a load, all that compose tools
// ask, for every tag, arch, build and rpm. The answers are equal but for what cannot be: on
// which volume a build is, and the tasks and buildroots that staging does not have.
func TestSameAnswers(t *testing.T) {
	t.Parallel()
	w := newMarkedEnv(t)
	tags := activeTags(t, w.prod)
	snap := w.pull(t, lastEvent, tags...)
	w.copy(t, snap, compose.Want{})
	w.load(t, snap)

	// In the short form a tag is asked about now or at the event; in the long form all are in both ways.
	now, atEvent, atLeast := tags, tags, 5000
	if !seedtest.Long() {
		now, atEvent, atLeast = nil, nil, 2000
		for i, tag := range tags {
			if i%2 == 0 {
				now = append(now, tag)
			} else {
				atEvent = append(atEvent, tag)
			}
		}
	}
	t.Run("now", func(t *testing.T) { compare(t, w, tagCalls(t, w.prod, now, nil), atLeast) })
	t.Run("event", func(t *testing.T) { compare(t, w, tagCalls(t, w.prod, atEvent, lastEvent), 2000) })
	t.Run("builds", func(t *testing.T) { compare(t, w, buildCalls(t, w.prod), atLeast) })
}

func activeTags(t testing.TB, c *hub.Client) []string {
	t.Helper()
	v, err := c.Call(t.Context(), hub.Call{Method: "listTags"})
	must(t, err)
	var names []string
	for _, tag := range v.Items() {
		name, _ := tag.Field("name").Str()
		names = append(names, name)
	}
	if len(names) < 15 {
		t.Fatalf("only %d tags", len(names))
	}
	return names
}

// tagCalls are the calls that Pungi, ODCS, Bodhi, mash, koji's newRepo and distRepo make for a
// tag.
func tagCalls(t testing.TB, c *hub.Client, tags []string, event any) []hub.Call {
	t.Helper()
	var calls []hub.Call
	add := func(method string, args []any, kwargs map[string]any) {
		k := maps.Clone(kwargs)
		if k == nil {
			k = map[string]any{}
		}
		if event != nil {
			k["event"] = event
		}
		calls = append(calls, hub.Call{Method: method, Args: args, Kwargs: k})
	}
	for _, tag := range tags {
		of := []any{tag}
		for _, method := range []string{"getTag", "getBuildConfig", "getInheritanceData", "getFullInheritance", "getTagGroups",
			"getTagExternalRepos", "getExternalRepoList", "listTaggedArchives", "getLatestBuilds"} {
			add(method, of, nil)
		}
		add("getTag", of, map[string]any{"blocked": true})
		add("getTagGroups", of, map[string]any{"incl_blocked": true})
		for _, inherited := range []bool{false, true} {
			add("listPackages", nil, map[string]any{"tagID": tag, "inherited": inherited, "with_dups": true})
			add("listPackages", nil, map[string]any{"tagID": tag, "inherited": inherited, "with_blocked": false})
			for _, latest := range []any{false, true, 2} {
				how := map[string]any{"inherit": inherited, "latest": latest}
				add("listTagged", of, how)
				add("listTaggedRPMS", of, how)
			}
		}
		for _, btype := range []string{"maven", "win", "image", "module"} {
			add("listTagged", of, map[string]any{"inherit": true, "type": btype})
		}
		for _, arch := range []string{"x86_64", "aarch64", "ppc64le", "s390x", "i686", "noarch", "src"} {
			add("listTaggedRPMS", of, map[string]any{"inherit": true, "latest": true, "arch": arch})
			add("listTaggedRPMS", of, map[string]any{"inherit": true, "latest": true, "arch": arch, "rpmsigs": true})
			add("getLatestRPMS", of, map[string]any{"arch": arch})
		}
		calls = append(calls, hub.Call{Method: "tagChangedSinceEvent", Args: []any{lastEvent - 1, []any{}}})
	}
	add("getBuildTargets", nil, nil)
	return calls
}

// buildCalls are the calls about single builds, rpms and archives.
func buildCalls(t testing.TB, c *hub.Client) []hub.Call {
	t.Helper()
	var calls []hub.Call
	add := func(method string, args ...any) { calls = append(calls, hub.Call{Method: method, Args: args}) }
	tagged, err := c.Call(t.Context(), hub.Call{Method: "queryHistory", Kwargs: map[string]any{"tables": []any{"tag_listing"}, "active": true}})
	must(t, err)
	ids := map[int64]bool{}
	for _, row := range tagged.Field("tag_listing").Items() {
		id, _ := row.Field("build_id").Int()
		ids[id] = true
	}
	if len(ids) < 40 {
		t.Fatalf("only %d tagged builds", len(ids))
	}
	all := slices.Sorted(maps.Keys(ids))
	for _, id := range seedtest.Some(all, len(all)/2) {
		for _, method := range []string{"getBuild", "getBuildType", "listBuildRPMs", "getMavenBuild", "getWinBuild", "getImageBuild"} {
			add(method, id)
		}
		calls = append(calls, hub.Call{Method: "listTags", Kwargs: map[string]any{"build": id}})
		for _, btype := range []any{nil, "maven", "win", "image", "module"} {
			calls = append(calls, hub.Call{Method: "listArchives", Kwargs: map[string]any{"buildID": id, "type": btype}})
		}
		rpms, err := c.Call(t.Context(), hub.Call{Method: "listRPMs", Args: []any{id}})
		must(t, err)
		for _, rpm := range rpms.Items() {
			rpmID, _ := rpm.Field("id").Int()
			add("getRPM", rpmID)
			calls = append(calls, hub.Call{Method: "queryRPMSigs", Kwargs: map[string]any{"rpm_id": rpmID, "queryOpts": map[string]any{"order": "sigkey"}}})
		}
	}
	return calls
}

func compare(t *testing.T, w *env, calls []hub.Call, atLeast int) {
	want, err := w.prod.Multi(t.Context(), calls)
	must(t, err)
	got, err := w.staging.Multi(t.Context(), calls)
	must(t, err)
	rows, faults, bad := 0, 0, 0
	for i, call := range calls {
		if (want[i].Err == nil) != (got[i].Err == nil) {
			t.Errorf("%s: production %v, staging %v", call, want[i].Err, got[i].Err)
			continue
		}
		if want[i].Err != nil {
			faults++
			continue
		}
		rows += want[i].Value.Len()
		if diff := differ("", stripped(want[i].Value.Any()), stripped(got[i].Value.Any())); diff != "" {
			if bad++; bad <= 20 {
				t.Errorf("%s: %s", call, diff)
			}
		}
	}
	if rows < atLeast || faults > len(calls)/10 {
		t.Errorf("compared %d rows of %d calls, %d of them faults: too little to mean anything", rows, len(calls), faults)
	}
	t.Logf("%d calls, %d rows compared, %d answers differ", len(calls), rows, bad)
}

// stripped takes out what must differ between production and staging.
func stripped(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range []string{"volume_id", "volume_name", "task_id", "buildroot_id"} {
			delete(v, k)
		}
		for k := range v {
			v[k] = stripped(v[k])
		}
	case []any:
		for i := range v {
			v[i] = stripped(v[i])
		}
	}
	return v
}

// differ describes the first difference of two values, empty if there is none.
func differ(path string, want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	if a, ok := want.([]any); ok {
		if b, ok := got.([]any); ok && len(a) == len(b) {
			for i := range a {
				if d := differ(fmt.Sprintf("%s[%d]", path, i), a[i], b[i]); d != "" {
					return d
				}
			}
		}
	}
	if a, ok := want.(map[string]any); ok {
		if b, ok := got.(map[string]any); ok && len(a) == len(b) {
			for _, k := range slices.Sorted(maps.Keys(a)) {
				if d := differ(path+"."+k, a[k], b[k]); d != "" {
					return d
				}
			}
		}
	}
	return fmt.Sprintf("at %s production has %.300v, staging %.300v", path, want, got)
}

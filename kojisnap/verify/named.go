package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// byName stands for a tag in the checks of the builds that were asked for by name: they are the checks of a tag's
// builds, but have no tag.
const byName = ""

// checkOf returns a check of a tag, or of the builds that were asked for by name.
func checkOf(name, tag string) Check {
	if tag == byName {
		name = "build " + name
	}
	return Check{Name: name, Tag: tag}
}

// namedBuild is what a hub, or the snapshot, has of a build that was asked for by name.
type namedBuild struct {
	*taggedBuild       // nil: there is no such build
	err          error // why the build, or a part of it, is not known
	state        int64
	rpms         []taggedRPM
	sigs         map[int64][]signature // by rpm
	archives     []string              // what must be equal in production and staging
	module       bool                  // only of staging's: its extra says that it is a module
}

// whole reports whether all of the build is known, and a compose can take it.
func (b namedBuild) whole() bool {
	return b.err == nil && b.taggedBuild != nil && b.state == tagged.Complete
}

// archiveText returns what must be equal of an archive.
func archiveText(filename string, size, kind int64, checksum string) string {
	return fmt.Sprintf("%s: size %d, checksum %d:%s", filename, size, kind, strings.ToLower(checksum))
}

// namedChecks compare the builds that were asked for by name.
type namedChecks struct{ *verifier }

// namedBuilds returns the builds that the snapshot was asked for.
func (v namedChecks) namedBuilds() []snapfile.NamedBuild {
	if v.Snapshot == nil {
		return nil
	}
	return v.Snapshot.Manifest.Scope.Builds
}

// checkNamed compares the builds that were asked for by name with production, as compose tools ask for them.
func (v namedChecks) checkNamed(ctx context.Context) error {
	named := v.namedBuilds()
	if len(named) == 0 {
		return nil
	}
	c := Check{Name: "builds", Count: len(named)}
	return v.attempt(ctx, c, func() error {
		want, err := v.expected.named(ctx, named)
		if err != nil {
			return err
		}
		have, err := v.staging.named(ctx, named)
		if err != nil {
			return err
		}
		t := &taggedTag{renamed: map[string]bool{}, reasons: map[string]bool{}}
		names, err := v.findByName(ctx, want)
		if err != nil {
			return err
		}
		wanted, there := &listing{builds: map[int64]*taggedBuild{}}, &listing{builds: map[int64]*taggedBuild{}}
		for i, b := range named {
			why := v.compareNamed(b, want[i], have[i], names[i])
			switch known := v.Record.Builds[b.ID]; {
			case why != nil && known != "" && want[i].state == tagged.Complete:
				t.explain(b.Name()+": "+known, 1)
			case why != nil:
				c.bad("%s: %v", b.Name(), oneline.Of(why))
			}
			if want[i].whole() && have[i].whole() {
				wanted.add(want[i])
				there.add(have[i])
			}
		}
		v.add(c, StatusFailed)
		v.compareContent(t, wanted, there, want, have)
		for _, b := range have {
			if b.module && b.whole() {
				t.modules = append(t.modules, &moduleBuild{taggedBuild: b.taggedBuild})
			}
		}
		return moduleChecks(v).checkContentTags(ctx, t)
	})
}

// add adds a build with its rpms.
func (l *listing) add(b namedBuild) {
	l.builds[b.id] = b.taggedBuild
	l.rpms = append(l.rpms, b.rpms...)
}

// compareNamed returns what is wrong with a build in staging, or with asking for it. byNVR is staging's answer for
// the id of its NVR.
func (v namedChecks) compareNamed(b snapfile.NamedBuild, want, have namedBuild, byNVR hub.Result) error {
	switch named, found := byNVR.Value.Int(); {
	case want.err != nil:
		return want.err
	case want.taggedBuild == nil:
		return fmt.Errorf("%s does not have it", v.expected)
	case want.state != tagged.Complete:
		return fmt.Errorf("it is %s in production: no compose can take it; take it off build of [pull], or --build", tagged.StateName(want.state))
	case have.err != nil:
		return have.err
	case have.taggedBuild == nil:
		return fmt.Errorf("staging does not have it, as id %d", b.ID)
	case have.state != want.state:
		return fmt.Errorf("it is %s in staging, %s in production", tagged.StateName(have.state), tagged.StateName(want.state))
	case have.nvr() != want.nvr():
		return fmt.Errorf("staging has it as %s, production as %s: what asks for it by name does not find it", have.nvr(), want.nvr())
	case byNVR.Err != nil:
		return v.staging.failed(byNVR.Err)
	case !found:
		return fmt.Errorf("staging has it as id %d, but does not find it by its name", b.ID)
	case named != b.ID:
		return fmt.Errorf("staging has id %d by this name, production %d", named, b.ID)
	}
	return nil
}

// findByName asks staging for the ids of builds by production's names, as composes do.
func (v namedChecks) findByName(ctx context.Context, want []namedBuild) ([]hub.Result, error) {
	ids := make([]hub.Result, len(want))
	var calls []hub.Call
	var of []int
	for i, b := range want {
		if b.taggedBuild != nil {
			calls, of = append(calls, hub.Call{Method: "findBuildID", Args: []any{b.nvr()}}), append(of, i)
		}
	}
	results, err := v.staging.multi(ctx, calls)
	if err != nil {
		return nil, err
	}
	for n, i := range of {
		ids[i] = results[n]
	}
	return ids, nil
}

// compareContent compares the rpms, signatures and archives of builds that both sides have.
func (v namedChecks) compareContent(t *taggedTag, wanted, there *listing, want, have []namedBuild) {
	v.named = there
	rpms := rpmChecks(v)
	rpms.nameBuilds(t, wanted, there)
	var builds []*taggedBuild
	sigs, rows := map[int64][]signature{}, map[int64][]signature{}
	for i := range want {
		maps.Copy(sigs, want[i].sigs)
		maps.Copy(rows, have[i].sigs)
		if want[i].taggedBuild != nil {
			builds = append(builds, want[i].taggedBuild)
		}
	}
	maps.Copy(v.rows, rows)
	decided := v.Record.of(builds)
	if len(wanted.rpms)+len(there.rpms) > 0 {
		v.listings[byName] = there
		t.matching = rpms.match(wanted, there, nil, decided)
		rpms.reportRPMs(t)
		rpms.reportSignatures(t, sigs, rows)
		rpms.checkUnsigned(t, there, rows)
	}
	v.compareArchives(t, decided, want, have)
	v.reportNames(t)
	v.reportRecord(t)
}

// compareArchives compares the archives of builds that both sides have.
func (v namedChecks) compareArchives(t *taggedTag, decided decided, want, have []namedBuild) {
	c := checkOf("archives", byName)
	for i, b := range want {
		if b.taggedBuild == nil || v.named.builds[b.id] == nil {
			continue
		}
		c.Count += len(b.archives)
		var lines []string
		for _, a := range lacking(b.archives, have[i].archives) {
			lines = append(lines, a+": only in production")
		}
		for _, a := range lacking(have[i].archives, b.archives) {
			lines = append(lines, a+": only in staging")
		}
		if why := decided.aboutBuild(b.taggedBuild); why != "" && len(lines) > 0 {
			t.explain(why, len(lines))
			continue
		}
		for _, line := range lines {
			c.bad("%s: %s", b.nvr(), line)
		}
	}
	if c.Count+c.Bad > 0 {
		v.add(c, StatusFailed)
	}
}

// lacking returns the elements of a list that another list does not have.
func lacking(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return slices.Contains(other, s) })
}

package verify

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// snapshotAnswers works out from a snapshot's rows what production's hub answers.
type snapshotAnswers struct {
	snap     *snapfile.Snapshot
	view     *tagged.View
	links    []link
	builds   map[int64][]int64      // ids of latest builds, by tag
	byID     map[int64]*taggedBuild // builds of all tags, and those asked for by name
	state    map[int64]int64        // of the builds asked for by name
	byBuild  map[int64][]taggedRPM
	sigs     map[int64][]signature // by rpm
	module   map[int64]bool        // builds of that type
	repos    []externalRepo        // of all tags
	repoName map[int64]string
	exists   map[int64]bool // tags
}

// newSnapshotAnswers reads what the tags hold, each relation once.
func newSnapshotAnswers(ctx context.Context, snap *snapfile.Snapshot, want compose.Want) (*snapshotAnswers, error) {
	a := &snapshotAnswers{snap: snap, builds: map[int64][]int64{}, byID: map[int64]*taggedBuild{},
		state: map[int64]int64{}, byBuild: map[int64][]taggedRPM{}, sigs: map[int64][]signature{}, module: map[int64]bool{}, repoName: map[int64]string{}, exists: map[int64]bool{}}
	var err error
	if a.view, err = tagged.Read(ctx, snap); err != nil {
		return nil, err
	}
	names, err := want.ResolveTags(a.view, snap)
	if err != nil {
		return nil, err
	}
	have := compose.NewInventory()
	for _, tag := range names {
		id := a.view.Tags[tag]
		for _, b := range a.view.PossibleBuilds(id, true, true) {
			a.builds[id] = append(a.builds[id], b.ID)
			a.byID[b.ID] = newSnapshotBuild(b)
		}
	}
	a.addNamed()
	moduleType := int64(-1)
	rpms, shared := map[int64]bool{}, map[string]string{}
	intern := func(s string) string {
		if known, ok := shared[s]; ok {
			return known
		}
		shared[s] = s
		return s
	}
	for _, step := range []struct {
		relation string
		row      func(tagged.Row)
	}{
		{"tag_inheritance", func(r tagged.Row) {
			l := link{child: r.Int("tag_id"), parent: r.Int("parent_id"), priority: r.Int("priority"), maxdepth: -1,
				intransitive: r.Bool("intransitive"), noconfig: r.Bool("noconfig"), filter: r.Text("pkg_filter")}
			if !r.Null("maxdepth") {
				l.maxdepth = r.Int("maxdepth")
			}
			a.links = append(a.links, l)
		}},
		{"rpminfo", func(r tagged.Row) {
			have.AddRPM(r)
			build := a.byID[r.Int("build_id")]
			if build == nil || r.Null("build_id") {
				return
			}
			rpms[r.Int("id")] = true
			a.byBuild[build.id] = append(a.byBuild[build.id], taggedRPM{
				id: r.Int("id"), buildID: build.id, build: build, name: r.Text("name"), version: intern(r.Text("version")),
				release: intern(r.Text("release")), arch: intern(r.Text("arch")), epoch: intern(r.Text("epoch")),
				payloadHash: r.Text("payloadhash"), size: r.Int("size"), metadataOnly: r.Bool("metadata_only")})
		}},
		{"rpmsigs", func(r tagged.Row) {
			have.AddSignature(r)
			if id := r.Int("rpm_id"); rpms[id] {
				a.sigs[id] = append(a.sigs[id], signature{intern(r.Text("sigkey")), r.Text("sighash")})
			}
		}},
		{"tag_config", func(r tagged.Row) { a.exists[r.Int("tag_id")] = true }},
		{"external_repo", func(r tagged.Row) { a.repoName[r.Int("id")] = r.Text("name") }},
		{"tag_external_repos", func(r tagged.Row) {
			a.repos = append(a.repos, externalRepo{tag: r.Int("tag_id"), id: r.Int("external_repo_id"), name: a.repoName[r.Int("external_repo_id")],
				priority: r.Int("priority"), mergeMode: r.Text("merge_mode"), arches: r.Text("arches")})
		}},
		{"btype", func(r tagged.Row) {
			if r.Text("name") == "module" {
				moduleType = r.Int("id")
			}
		}},
		{"build_types", func(r tagged.Row) {
			if r.Int("btype_id") == moduleType {
				a.module[r.Int("build_id")] = true
			}
		}},
	} {
		if err := tagged.Each(ctx, snap, step.relation, step.row); err != nil {
			return nil, err
		}
	}
	return a, want.CheckInventory(ctx, snap, have)
}

func (a *snapshotAnswers) String() string { return "snapshot " + a.snap.ID }

func newSnapshotBuild(b tagged.Build) *taggedBuild {
	return &taggedBuild{id: b.ID, packageID: b.PackageID, name: b.Name, version: b.Version, release: b.Release, volume: b.Volume}
}

func (a *snapshotAnswers) tag(_ context.Context, name string) (tagRef, bool, error) {
	id := a.view.Tags[name]
	return tagRef{id, name}, a.exists[id], nil // like getTag: at an earlier event the tag may not exist yet
}

func (a *snapshotAnswers) inheritance(_ context.Context, tag tagRef) (*inheritance, error) {
	return &inheritance{order: a.view.Inheritance(tag.id), links: a.links, names: a.view.Names}, nil
}

func (a *snapshotAnswers) rpms(_ context.Context, tag tagRef) (*listing, error) {
	l := &listing{tag: tag, builds: map[int64]*taggedBuild{}}
	for _, id := range a.builds[tag.id] {
		l.builds[id] = a.byID[id]
		l.rpms = append(l.rpms, a.byBuild[id]...)
	}
	return l, nil
}

func (a *snapshotAnswers) signatures(context.Context, tagRef) (map[int64][]signature, error) {
	return a.sigs, nil
}

func (a *snapshotAnswers) modules(_ context.Context, tag tagRef) ([]*taggedBuild, error) {
	var modules []*taggedBuild
	for _, b := range a.view.PossibleBuilds(tag.id, true, false) {
		if a.module[b.ID] {
			modules = append(modules, newSnapshotBuild(b))
		}
	}
	return modules, nil
}

func (a *snapshotAnswers) undecided(tag tagRef) []*tagged.Undecided {
	_, undecided := a.view.Builds(tag.id, true, false)
	return undecided
}

func (a *snapshotAnswers) externalRepos(_ context.Context, tags []tagRef) (repos []externalRepo, _ []error) {
	of := map[int64]bool{}
	for _, tag := range tags {
		of[tag.id] = true
	}
	for _, r := range a.repos {
		if of[r.tag] {
			repos = append(repos, r)
		}
	}
	return repos, nil
}

func (a *snapshotAnswers) config(_ context.Context, tag tagRef) error {
	for _, id := range append([]int64{tag.id}, a.view.Inheritance(tag.id)...) {
		if !a.exists[id] {
			return fmt.Errorf("tag %s does not exist at the event", a.view.Names[id])
		}
	}
	return nil
}

// addNamed adds the builds that were asked for by name to those whose rows are read.
func (a *snapshotAnswers) addNamed() {
	if len(a.snap.Manifest.Scope.Builds) == 0 {
		return
	}
	for _, b := range a.view.AllBuilds() {
		if !a.snap.Manifest.NamedBuild(b.ID) {
			continue
		}
		a.state[b.ID] = b.State
		if a.byID[b.ID] == nil {
			a.byID[b.ID] = newSnapshotBuild(b)
		}
	}
}

// named returns what the snapshot has of builds.
func (a *snapshotAnswers) named(ctx context.Context, builds []snapfile.NamedBuild) ([]namedBuild, error) {
	archives := map[int64][]string{}
	for _, b := range builds {
		archives[b.ID] = nil
	}
	err := tagged.Each(ctx, a.snap, "archiveinfo", func(r tagged.Row) {
		if list, wanted := archives[r.Int("build_id")]; wanted {
			archives[r.Int("build_id")] = append(list, archiveText(r.Text("filename"), r.Int("size"), r.Int("checksum_type"), r.Text("checksum")))
		}
	})
	if err != nil {
		return nil, err
	}
	all := make([]namedBuild, len(builds))
	for i, b := range builds {
		build := a.byID[b.ID]
		if build == nil {
			continue
		}
		all[i] = namedBuild{taggedBuild: build, state: a.state[b.ID], rpms: a.byBuild[b.ID], sigs: map[int64][]signature{}, archives: archives[b.ID]}
		for _, r := range all[i].rpms {
			all[i].sigs[r.id] = a.sigs[r.id]
		}
	}
	return all, nil
}

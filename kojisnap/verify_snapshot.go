package kojisnap

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// snapshotAnswers works out of a snapshot's rows what production's hub answers.
type snapshotAnswers struct {
	snap    *snapfile.Snapshot
	view    *tagged.View
	links   []link
	builds  map[string][]int64     // ids of latest builds, by tag
	byID    map[int64]*taggedBuild // of all tags
	byBuild map[int64][]taggedRPM
	sigs    map[int64][]signature // by rpm
	module  map[int64]bool        // builds of that type
}

// newSnapshotAnswers reads what the tags hold, each relation once.
func newSnapshotAnswers(ctx context.Context, snap *snapfile.Snapshot, tags []string) (*snapshotAnswers, error) {
	a := &snapshotAnswers{snap: snap, builds: map[string][]int64{}, byID: map[int64]*taggedBuild{},
		byBuild: map[int64][]taggedRPM{}, sigs: map[int64][]signature{}, module: map[int64]bool{}}
	var err error
	if a.view, err = tagged.Read(ctx, snap); err != nil {
		return nil, err
	}
	for _, tag := range tags {
		id, ok := a.view.Tags[tag]
		if !ok {
			return nil, fmt.Errorf("snapshot %s has no tag %q", snap.ID, tag)
		}
		builds, err := a.view.Builds(id, true, true)
		if err != nil {
			return nil, err
		}
		for _, b := range builds {
			a.builds[tag] = append(a.builds[tag], b.ID)
			a.byID[b.ID] = &taggedBuild{id: b.ID, name: b.Name, version: b.Version, release: b.Release, volume: b.Volume}
		}
	}
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
			if id := r.Int("rpm_id"); rpms[id] {
				a.sigs[id] = append(a.sigs[id], signature{intern(r.Text("sigkey")), r.Text("sighash")})
			}
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
	return a, nil
}

func (a *snapshotAnswers) String() string { return "snapshot " + a.snap.ID }

func (a *snapshotAnswers) inheritance(_ context.Context, tag string) (*inheritance, error) {
	order, err := a.view.Inheritance(a.view.Tags[tag])
	if err != nil {
		return nil, err
	}
	in := &inheritance{links: map[string]bool{}}
	for _, id := range order {
		in.order = append(in.order, a.view.Names[id])
	}
	for _, l := range a.links {
		in.links[l.line(a.view.Names)] = true
	}
	return in, nil
}

func (a *snapshotAnswers) rpms(_ context.Context, tag string) (*listing, error) {
	l := &listing{builds: map[int64]*taggedBuild{}}
	for _, id := range a.builds[tag] {
		l.builds[id] = a.byID[id]
		l.rpms = append(l.rpms, a.byBuild[id]...)
	}
	return l, nil
}

func (a *snapshotAnswers) signatures(context.Context, string) (map[int64][]signature, error) {
	return a.sigs, nil
}

func (a *snapshotAnswers) moduleNVRs(_ context.Context, tag string) ([]string, error) {
	builds, err := a.view.Builds(a.view.Tags[tag], true, false)
	var nvrs []string
	for _, b := range builds {
		if a.module[b.ID] {
			nvrs = append(nvrs, b.NVR())
		}
	}
	return nvrs, err
}

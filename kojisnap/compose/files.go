package compose

import (
	"context"
	"fmt"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
	"kojisnap/volumes"
)

// Builds says which builds of the tags composes find as regular files.
type Builds string

// The values of Want.Builds.
const (
	BuildsLatest Builds = "latest" // the latest of each package, inherited ones included, as composes take them; and those asked for by name
	BuildsTagged Builds = "tagged" // all that are tagged, and those asked for by name
	BuildsNone   Builds = "none"   // none: composes copy from the read-only volume
	BuildsAll    Builds = "all"    // all of the snapshot: they are copied by shards, and no plan of files has them
)

// Want says which files composes need as regular files. The zero value is all arches of the unsigned rpms of the
// pull's tags.
type Want struct {
	// Tags are names and patterns as of package tagglob; empty: those of the pull. The content tags of modules
	// in them are added.
	Tags       []string
	Arches     []string          // empty: all
	SigKeys    []string          // of signed copies, in the order of preference; "" among them: the unsigned rpms, too
	Builds     Builds            // empty: BuildsLatest
	Volume     string            // staging's name of the volume that is production's topdir; empty: prod
	CopyVolume string            // empty: staged
	Rules      map[string]string // staging's names of production's volumes where the default will not do
	Unmounted  []string          // production's volumes that this site never mounts, by production's names
}

// Mapping returns how production's volumes are called in staging.
func (w Want) Mapping() volumes.Mapping { return volumes.Mapping{Prod: w.Volume, Rules: w.Rules} }

// PlanFiles makes the plan of files from a snapshot: wanted builds with their files, all others as symlinks.
// decided are the builds, by production's ids, that staging decided about itself; the plan leaves their files
// alone.
//
// If a package filter cannot be evaluated, it is not known whether the builds behind it are wanted. Those that
// have been copied stay in the plan, others are not added; the filters are returned. copied tells the names of
// the builds that have been copied. It is called at most once, and only if there is such a filter. Tags, arches
// and keys that the snapshot does not have are an *UnknownError.
func PlanFiles(ctx context.Context, snap *snapfile.Snapshot, w Want, copied func() map[string]bool, decided map[int64]string) (volumes.Plan, []Undecided, error) {
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return volumes.Plan{}, nil, err
	}
	wanted, open, err := w.builds(view, snap)
	if err != nil {
		return volumes.Plan{}, nil, err
	}
	undecided := keepUndecided(wanted, open, copied)
	var in volumes.Input
	files := map[int64]*volumes.BuildFiles{}
	others := map[int64]*volumes.Other{}
	for _, b := range view.AllBuilds() {
		if b.State != tagged.Complete {
			continue
		}
		build := volumes.Build{Name: b.Name, Version: b.Version, Release: b.Release, Volume: b.Volume}
		if _, own := decided[b.ID]; own {
			in.Decided = append(in.Decided, build)
		} else if tags, ok := wanted[b.ID]; ok {
			files[b.ID] = &volumes.BuildFiles{Build: build, Tags: tags}
		} else {
			others[b.ID] = &volumes.Other{Build: build}
		}
	}
	hasFile := func(r tagged.Row) {
		if o := others[r.Int("build_id")]; o != nil && !r.Null("build_id") && !r.Bool("metadata_only") {
			o.Files = true
		}
	}
	have := NewInventory()
	if err := addRPMs(ctx, snap, files, have, hasFile); err != nil {
		return volumes.Plan{}, nil, err
	}
	if err := w.CheckInventory(ctx, snap, have); err != nil {
		return volumes.Plan{}, nil, err
	}
	if err := AddArchives(ctx, snap, files, hasFile); err != nil {
		return volumes.Plan{}, nil, err
	}
	for _, o := range others {
		in.Others = append(in.Others, *o)
	}
	for _, b := range files {
		in.Builds = append(in.Builds, *b)
	}
	var prodVolumes []string
	err = tagged.Each(ctx, snap, "volume", func(r tagged.Row) { prodVolumes = append(prodVolumes, r.Text("name")) })
	if err != nil {
		return volumes.Plan{}, nil, err
	}
	plan, err := volumes.NewPlan(in, volumes.Want{
		Arches: w.Arches, SigKeys: w.SigKeys, CopyVolume: w.CopyVolume, Mapping: w.Mapping(), ProdVolumes: prodVolumes,
	})
	return plan, undecided, err
}

// builds returns the ids of the builds to copy, each with the tags that have it. A build that was only asked
// for by name has none. open are builds that a tag may or may not have.
func (w Want) builds(view *tagged.View, snap *snapfile.Snapshot) (ids map[int64][]string, open []*tagged.Undecided, err error) {
	ids = map[int64][]string{}
	names, err := w.ResolveTags(view, snap)
	if err != nil {
		return nil, nil, err
	}
	switch w.Builds {
	case BuildsNone, BuildsAll:
		return ids, nil, nil
	case "", BuildsLatest, BuildsTagged:
	default:
		return nil, nil, fmt.Errorf("builds %q: want latest, tagged or none", w.Builds)
	}
	for _, b := range snap.Manifest.Scope.Builds {
		ids[b.ID] = []string{}
	}
	for _, name := range names {
		builds, unknown := view.Builds(view.Tags[name], true, w.Builds != BuildsTagged)
		open = append(open, unknown...)
		for _, b := range builds {
			if tags := ids[b.ID]; len(tags) == 0 || tags[len(tags)-1] != name {
				ids[b.ID] = append(tags, name)
			}
		}
	}
	return ids, open, nil
}

// addRPMs adds to builds their rpms with signatures, and to have all rows. Both relations are sorted by the
// rpm's id. other is called for each rpm of another build.
func addRPMs(ctx context.Context, snap *snapfile.Snapshot, builds map[int64]*volumes.BuildFiles, have *Inventory, other func(tagged.Row)) error {
	type place struct {
		id    int64
		build *volumes.BuildFiles
		index int
	}
	var places []place
	err := tagged.Each(ctx, snap, "rpminfo", func(r tagged.Row) {
		have.AddRPM(r)
		b := builds[r.Int("build_id")]
		if b == nil || r.Null("build_id") {
			other(r)
			return
		}
		places = append(places, place{r.Int("id"), b, len(b.RPMs)})
		b.RPMs = append(b.RPMs, volumes.RPMFile{
			RPM:  volumes.RPM{Name: r.Text("name"), Version: r.Text("version"), Release: r.Text("release"), Arch: r.Text("arch")},
			Size: r.Int("size"), PayloadHash: r.Text("payloadhash"), MetadataOnly: r.Bool("metadata_only"),
		})
	})
	if err != nil {
		return err
	}
	left := places // their signatures may still follow
	return tagged.Each(ctx, snap, "rpmsigs", func(r tagged.Row) {
		have.AddSignature(r)
		id := r.Int("rpm_id")
		for len(left) > 0 && left[0].id < id {
			left = left[1:]
		}
		if len(left) > 0 && left[0].id == id {
			rpm := &left[0].build.RPMs[left[0].index]
			rpm.Sigs = append(rpm.Sigs, volumes.Signature{Key: r.Text("sigkey"), Hash: r.Text("sighash")})
		}
	})
}

// AddArchives adds to builds, which are by id, their archives, with the paths that Koji gives them. An archive
// whose row does not give a path has an Err. other is called for each archive of another build, and must not
// keep the row.
func AddArchives(ctx context.Context, snap *snapfile.Snapshot, builds map[int64]*volumes.BuildFiles, other func(tagged.Row)) error {
	btypes := map[int64]string{}
	maven, win := map[int64][3]string{}, map[int64]string{}
	for name, row := range map[string]func(tagged.Row){
		"btype": func(r tagged.Row) { btypes[r.Int("id")] = r.Text("name") },
		"maven_archives": func(r tagged.Row) {
			maven[r.Int("archive_id")] = [3]string{r.Text("group_id"), r.Text("artifact_id"), r.Text("version")}
		},
		"win_archives": func(r tagged.Row) { win[r.Int("archive_id")] = r.Text("relpath") },
	} {
		if err := tagged.Each(ctx, snap, name, row); err != nil {
			return err
		}
	}
	return tagged.Each(ctx, snap, "archiveinfo", func(r tagged.Row) {
		b := builds[r.Int("build_id")]
		if b == nil {
			other(r)
			return
		}
		id, file, btype := r.Int("id"), r.Text("filename"), btypes[r.Int("btype_id")]
		var path string
		var bad error // if it is set, the build is not copied
		switch btype {
		case "maven":
			path, bad = volumes.MavenPath(maven[id][0], maven[id][1], maven[id][2], file)
		case "win":
			path, bad = volumes.WinPath(win[id], file)
		case "image":
			path, bad = volumes.ImagePath(file)
		default:
			path, bad = volumes.TypePath(btype, file)
		}
		if bad != nil {
			bad = fmt.Errorf("archive %d: %w", id, bad)
		}
		b.Archives = append(b.Archives, volumes.ArchiveFile{
			Path: path, BType: btype, Size: r.Int("size"), Checksum: r.Text("checksum"), ChecksumType: int(r.Int("checksum_type")),
			MetadataOnly: r.Bool("metadata_only"), Err: bad,
		})
	})
}

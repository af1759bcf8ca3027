package verify

import (
	"context"

	"kojisnap/kojisnap/hub"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
)

// named asks for builds by their ids, with all that a compose takes of them.
func (a hubAnswers) named(ctx context.Context, builds []snapfile.NamedBuild) ([]namedBuild, error) {
	const each = 3
	var calls []hub.Call
	for _, b := range builds {
		calls = append(calls, hub.Call{Method: "getBuild", Args: []any{b.ID}, KeepBad: true},
			hub.Call{Method: "listBuildRPMs", Args: []any{b.ID}, KeepBad: true}, hub.Call{Method: "listArchives", Args: []any{b.ID}, KeepBad: true})
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return nil, err
	}
	all, shared := make([]namedBuild, len(builds)), interned{}
	for i := range builds {
		of := results[each*i : each*i+each]
		for _, r := range of {
			if r.Err != nil && all[i].err == nil {
				all[i].err = a.failed(r.Err)
			}
		}
		if _, there := of[0].Value.Field("build_id").Int(); !there {
			if of[0].Err == nil {
				all[i].err = nil // there is none, whatever else was answered
			}
			continue
		}
		all[i].taggedBuild, all[i].state = newTaggedBuild(hub.Row{Value: of[0].Value}), number(of[0].Value.Field("state"))
		all[i].module = of[0].Value.Field("extra").Field("typeinfo").Field("module").Kind() == hub.Struct
		for _, r := range of[1].Value.Items() {
			rpm := newTaggedRPM(hub.Row{Value: r}, shared)
			rpm.build = all[i].taggedBuild
			all[i].rpms = append(all[i].rpms, rpm)
		}
		for _, r := range of[2].Value.Items() {
			all[i].archives = append(all[i].archives, archiveText(text(r.Field("filename")), number(r.Field("size")), number(r.Field("checksum_type")), text(r.Field("checksum"))))
		}
	}
	return all, a.namedSignatures(ctx, all)
}

// namedSignatures asks for the signatures of the builds' rpms.
func (a hubAnswers) namedSignatures(ctx context.Context, builds []namedBuild) error {
	var calls []hub.Call
	var of []*namedBuild
	for i := range builds {
		b := &builds[i]
		b.sigs = map[int64][]signature{}
		for _, r := range b.rpms {
			calls, of = append(calls, hub.Call{Method: "queryRPMSigs", Args: []any{r.id}}), append(of, b)
		}
	}
	results, err := a.multi(ctx, calls)
	if err != nil {
		return err
	}
	for i, r := range results {
		if r.Err != nil {
			of[i].err = a.failed(r.Err)
		}
		for _, row := range r.Value.Items() {
			id := number(row.Field("rpm_id"))
			of[i].sigs[id] = append(of[i].sigs[id], signature{text(row.Field("sigkey")), text(row.Field("sighash"))})
		}
	}
	return nil
}

// addNamed adds the builds that were asked for by name to those of which rows are read.
func (a *snapshotAnswers) addNamed() {
	if len(a.snap.Manifest.Scope.Builds) == 0 {
		return
	}
	for _, b := range a.view.All() {
		if !a.snap.Manifest.NamedBuild(b.ID) {
			continue
		}
		a.state[b.ID] = b.State
		if a.byID[b.ID] == nil {
			a.byID[b.ID] = newSnapshotBuild(b)
		}
	}
}

// named is what the snapshot has of builds.
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

// Package compose says what composes want: tags, arches and keys, checked against what a snapshot has, and
// the builds and files that these come to.
package compose

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/tagged"
	"kojisnap/volumes"
)

// UnknownError names tags, arches and keys that are wanted and that a snapshot does not know, each with
// those that it does: most likely they are misspelt. What they choose would be nothing, in silence.
type UnknownError struct{ Faults []error }

func (e *UnknownError) Error() string { return errors.Join(e.Faults...).Error() }

// inventory is what a snapshot has of what a Want may name.
type inventory struct {
	rpms   int
	arches map[string]bool // of rpms
	keys   map[string]bool // of signatures, in lower case
}

func NewInventory() *inventory {
	return &inventory{arches: map[string]bool{}, keys: map[string]bool{}}
}

// Rpm adds a row of rpminfo.
func (i *inventory) Rpm(r tagged.Row) {
	i.rpms++
	if arch := r.Bytes("arch"); !i.arches[string(arch)] {
		i.arches[string(arch)] = true
	}
}

// Signature adds a row of rpmsigs.
func (i *inventory) Signature(r tagged.Row) {
	if key := r.Bytes("sigkey"); !i.keys[string(key)] {
		i.keys[strings.ToLower(string(key))] = true
	}
}

// CheckTags returns the names of the wanted tags, or an *UnknownError if one is not in the snapshot, or
// there is none.
func (w Want) CheckTags(view *tagged.View, snap *snapfile.Snapshot) ([]string, error) {
	names, err := w.tags(view, snap)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, tag := range names {
		if _, ok := view.Tags[tag]; !ok {
			faults = append(faults, fmt.Errorf("snapshot %s has no tag %s; it has %s", snap.ID, tag, some(maps.Keys(view.Tags))))
		}
	}
	if len(faults) > 0 {
		return nil, &UnknownError{faults}
	}
	return names, nil
}

// Check returns an *UnknownError if the snapshot has no rpm of a wanted arch, and no tag that is of it,
// or no signature by a wanted key.
func (w Want) Check(ctx context.Context, snap *snapfile.Snapshot, have *inventory) error {
	if have.rpms == 0 || len(w.Arches)+len(w.SigKeys) == 0 {
		return nil
	}
	tags := map[string]bool{}
	err := tagged.Each(ctx, snap, "tag_config", func(r tagged.Row) {
		for _, arch := range strings.Fields(r.Text("arches")) {
			tags[arch] = true
		}
	})
	if err != nil {
		return err
	}
	var faults []error
	for _, arch := range w.Arches {
		own := volumes.Want{Arches: []string{arch}}.TakesArch()
		isOwn := func(a string) bool { return own(a) && (a == arch || !everywhere(a)) }
		if !tags[arch] && !slices.ContainsFunc(slices.Collect(maps.Keys(have.arches)), isOwn) {
			known := maps.Clone(have.arches)
			maps.DeleteFunc(known, func(a string, _ bool) bool { return everywhere(a) })
			faults = append(faults, fmt.Errorf("no rpm of arch %s; there are %s", arch, some(maps.Keys(known))))
		}
	}
	for _, key := range w.SigKeys {
		if key != "" && !have.keys[strings.ToLower(key)] {
			used := maps.Clone(have.keys)
			delete(used, "")
			faults = append(faults, fmt.Errorf("sigkey %s signs none of %d rpms; production uses %s", key, have.rpms, some(maps.Keys(used))))
		}
	}
	if len(faults) > 0 {
		return &UnknownError{faults}
	}
	return nil
}

// Same reports whether the check of both is one.
func (w Want) Same(o Want) bool {
	return slices.Equal(w.Tags, o.Tags) && slices.Equal(w.Arches, o.Arches) && slices.Equal(w.SigKeys, o.SigKeys)
}

// everywhere reports whether composes of every arch take rpms of this one.
func everywhere(arch string) bool { return arch == "noarch" || arch == "src" || arch == "nosrc" }

// some lists names for people, not too many.
func some(names func(yield func(string) bool)) string {
	const most = 20
	list := slices.Sorted(names)
	switch {
	case len(list) == 0:
		return "none"
	case len(list) > most:
		return strings.Join(list[:most], " ") + fmt.Sprintf(" and %d more", len(list)-most)
	}
	return strings.Join(list, " ")
}

// CheckSnapshot is Want's whole check, for those who do not read the rows themselves.
func CheckSnapshot(ctx context.Context, snap *snapfile.Snapshot, w Want) error {
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return err
	}
	if _, err := w.CheckTags(view, snap); err != nil {
		return err
	}
	have := NewInventory()
	if err := tagged.Each(ctx, snap, "rpminfo", have.Rpm); err != nil {
		return err
	}
	if err := tagged.Each(ctx, snap, "rpmsigs", have.Signature); err != nil {
		return err
	}
	return w.Check(ctx, snap, have)
}

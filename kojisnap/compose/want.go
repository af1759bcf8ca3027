// Package compose says what composes want: tags, arches and keys. It checks these against a snapshot, and works
// out which builds and files they come to.
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

// UnknownError names tags, arches and keys that a snapshot does not have, each with those that it has. They
// are probably misspelt, and would silently choose nothing.
type UnknownError struct{ Faults []error }

func (e *UnknownError) Error() string { return errors.Join(e.Faults...).Error() }

// Inventory collects the arches and keys of a snapshot's rows, for Want.CheckInventory: a caller that reads
// the rows anyway need not read them twice. It is for one goroutine.
type Inventory struct {
	rpms   int
	arches map[string]bool // of rpms
	keys   map[string]bool // of signatures, in lower case
}

// NewInventory returns an empty inventory.
func NewInventory() *Inventory {
	return &Inventory{arches: map[string]bool{}, keys: map[string]bool{}}
}

// AddRPM adds a row of rpminfo.
func (i *Inventory) AddRPM(r tagged.Row) {
	i.rpms++
	if arch := r.Bytes("arch"); !i.arches[string(arch)] {
		i.arches[string(arch)] = true
	}
}

// AddSignature adds a row of rpmsigs.
func (i *Inventory) AddSignature(r tagged.Row) {
	if key := r.Bytes("sigkey"); !i.keys[string(key)] {
		i.keys[strings.ToLower(string(key))] = true
	}
}

// ResolveTags returns the names of the wanted tags, content tags included. If the snapshot does not have one
// of them, or nothing is chosen, the error is an *UnknownError. view is of the snapshot.
func (w Want) ResolveTags(view *tagged.View, snap *snapfile.Snapshot) ([]string, error) {
	names, err := w.tags(view, snap)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, tag := range names {
		if _, ok := view.Tags[tag]; !ok {
			faults = append(faults, fmt.Errorf("snapshot %s has no tag %s; it has %s", snap.ID, tag, someOf(maps.Keys(view.Tags))))
		}
	}
	if len(faults) > 0 {
		return nil, &UnknownError{faults}
	}
	return names, nil
}

// CheckInventory checks arches and keys: it returns an *UnknownError if the snapshot has neither an rpm nor a
// tag of a wanted arch, or no signature by a wanted key. A snapshot without any rpms has no faults.
func (w Want) CheckInventory(ctx context.Context, snap *snapfile.Snapshot, have *Inventory) error {
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
			faults = append(faults, fmt.Errorf("no rpm of arch %s; there are %s", arch, someOf(maps.Keys(known))))
		}
	}
	faults = append(faults, keyFaults(w.SigKeys, have.keys, fmt.Sprintf("none of %d rpms", have.rpms))...)
	if len(faults) > 0 {
		return &UnknownError{faults}
	}
	return nil
}

// CheckKeys returns an *UnknownError if rpms are signed, but none by one of these keys. have are the keys that sign rpms, in lower case.
func CheckKeys(keys []string, have map[string]bool) error {
	if len(have) == 0 {
		return nil
	}
	if faults := keyFaults(keys, have, "no rpm"); len(faults) > 0 {
		return &UnknownError{faults}
	}
	return nil
}

func keyFaults(keys []string, have map[string]bool, none string) (faults []error) {
	for _, key := range keys {
		if key != "" && !have[strings.ToLower(key)] {
			used := maps.Clone(have)
			delete(used, "")
			faults = append(faults, fmt.Errorf("sigkey %s signs %s; production uses %s", key, none, someOf(maps.Keys(used))))
		}
	}
	return faults
}

// SameNames reports whether two name the same tags, arches and keys, so that one Check is enough for both.
func (w Want) SameNames(o Want) bool {
	return slices.Equal(w.Tags, o.Tags) && slices.Equal(w.Arches, o.Arches) && slices.Equal(w.SigKeys, o.SigKeys)
}

// everywhere reports whether composes of every arch take rpms of this one.
func everywhere(arch string) bool { return arch == "noarch" || arch == "src" || arch == "nosrc" }

// someOf lists names for people, at most 20.
func someOf(names func(yield func(string) bool)) string {
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

// Check checks tags, arches and keys against a snapshot. Those that it does not have are an *UnknownError.
func (w Want) Check(ctx context.Context, snap *snapfile.Snapshot) error {
	view, err := tagged.Read(ctx, snap)
	if err != nil {
		return err
	}
	if _, err := w.ResolveTags(view, snap); err != nil {
		return err
	}
	have := NewInventory()
	if err := tagged.Each(ctx, snap, "rpminfo", have.AddRPM); err != nil {
		return err
	}
	if err := tagged.Each(ctx, snap, "rpmsigs", have.AddSignature); err != nil {
		return err
	}
	return w.CheckInventory(ctx, snap, have)
}

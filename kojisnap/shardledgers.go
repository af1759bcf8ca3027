package kojisnap

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"kojisnap/dbsync/kojidb"
	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// eachShardLedger calls f with the ledger of each shard, from topdir if that is given, or else from the store.
func eachShardLedger(ctx context.Context, s store.Store, env, topdir string, f func(shard string, l *ledger.Ledger) error) error {
	if topdir != "" {
		return ledger.EachShard(ctx, topdir, f)
	}
	prefix, err := repository.ShardLedgerPrefix(env)
	if err != nil {
		return err
	}
	list, err := s.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, e := range list {
		id := strings.TrimPrefix(e.Name, prefix)
		if ledger.CheckShard(id) != nil {
			continue
		}
		l, err := storedLedger(ctx, s, e.Name)
		if err != nil {
			return err
		}
		if l != nil {
			if err := f(id, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// staged returns the builds that the database is to have on the copy volume: those of the topdir's ledger and of the shards', from
// topdir or, without that, from the store. known is false if there is neither ledger: then it is not known what was copied.
func staged(ctx context.Context, s store.Store, env, topdir string) (builds []kojidb.NVR, known bool, err error) {
	own, err := readLedger(ctx, s, env, topdir)
	if err != nil {
		return nil, false, err
	}
	builds = []kojidb.NVR{}
	add := func(l *ledger.Ledger) {
		for _, b := range l.Staged() {
			// The ledger's strings are parts of its text.
			builds = append(builds, kojidb.NVR{Name: strings.Clone(b.Build.Name), Version: strings.Clone(b.Build.Version), Release: strings.Clone(b.Build.Release)})
		}
	}
	err = eachShardLedger(ctx, s, env, topdir, func(_ string, l *ledger.Ledger) error {
		known = true
		add(l)
		if own != nil {
			for dir := range l.Builds { // the shard's counts
				delete(own.Builds, dir)
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	if own != nil {
		known = true
		add(own)
	}
	return builds, known, nil
}

// withoutShards leaves out of a plan what the ledgers of shards have: a copy of all builds sees to that. It first ends what a kill
// left of moving builds there.
func (o CopyOptions) withoutShards(ctx context.Context, plan volumes.Plan) (volumes.Plan, error) {
	names, err := ledger.Shards(o.Topdir)
	if err != nil || len(names) == 0 {
		return plan, err
	}
	own, err := ledger.Read(o.Topdir)
	if err != nil {
		return plan, nil // the engine reports it
	}
	dirs := map[string]bool{}
	dirOf := func(b volumes.Build) string {
		b.Volume = plan.CopyVolume
		dir, _ := b.Dir() // was checked
		return dir
	}
	for dir := range own.Builds {
		dirs[dir] = true
	}
	for link := range own.Links {
		dirs["vol/"+plan.CopyVolume+"/"+link] = true
	}
	for _, b := range plan.Linked {
		dirs[dirOf(b)] = true
	}
	for _, b := range plan.Staged {
		dirs[dirOf(b.Build)] = true
	}
	there, err := ledger.InShards(ctx, o.Topdir, dirs)
	if err != nil || len(there) == 0 {
		return plan, err
	}
	plan.Staged = slices.DeleteFunc(plan.Staged, func(b volumes.StagedBuild) bool { return there[dirOf(b.Build)] })
	plan.Linked = slices.DeleteFunc(plan.Linked, func(b volumes.Build) bool { return there[dirOf(b)] })
	if dirs, links := own.Twice(plan.CopyVolume, there); len(dirs)+len(links) > 0 && !o.DryRun {
		return plan, o.settle(plan.CopyVolume, there)
	}
	return plan, nil
}

func (o CopyOptions) settle(copyVolume string, there map[string]bool) error {
	readOnly, err := o.readOnly()
	if err != nil {
		return err
	}
	top, err := topdir.Open(o.Topdir, readOnly)
	if err != nil {
		return err
	}
	defer top.Close()
	top.SetAttributes(o.Attributes)
	return ledger.Settle(top, copyVolume, there)
}

// elsewhere is hardlink.Options.Elsewhere. It reads the ledgers of the shards at its first call, and keeps hashes.
func (o CopyOptions) elsewhere(ctx context.Context) func(dir string) bool {
	seed, there := maphash.MakeSeed(), map[uint64]bool{}
	var once sync.Once
	return func(dir string) bool {
		once.Do(func() {
			err := ledger.EachShard(ctx, o.Topdir, func(_ string, l *ledger.Ledger) error {
				for dir := range l.Builds {
					there[maphash.String(seed, dir)] = true
				}
				return nil
			})
			if err != nil {
				o.warn(ctx, "the ledgers of shards cannot be read: their builds are reported as unknown ones", err)
			}
		})
		return there[maphash.String(seed, dir)]
	}
}

// copied returns the names of the builds on the copy volume that are still wanted. It ignores a ledger that
// cannot be read: the engine reports that.
func (o CopyOptions) copied() map[string]bool {
	l, err := ledger.Read(o.Topdir)
	if err != nil {
		return map[string]bool{}
	}
	return wantedIn(l)
}

// wantedIn returns the names of the builds in a ledger that are still wanted.
func wantedIn(l *ledger.Ledger) map[string]bool {
	nvrs := map[string]bool{}
	for _, b := range l.Builds {
		if b.Unwanted == 0 {
			nvrs[b.Build.NVR()] = true
		}
	}
	return nvrs
}

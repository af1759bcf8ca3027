package kojisnap

import (
	"context"
	"slices"
	"strings"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/compose"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/volumes"
)

// Carried are the files of production that a copy needs and staging does not have: for a site whose production is to be
// reached by other means alone. Paths are below production's topdir, sorted.
type Carried struct {
	Paths []string
	// Unsure are those of Paths whose directory the database does not tell: production may have them in a subdirectory.
	Unsure []string
}

// ListCarried finds what a copy of a snapshot needs. It asks no source: of a signed copy, which production may have
// pruned, it names what that is made of, the rpm and its signature header. What staging has already it knows by the
// ledger, below Topdir or, without that, in the store.
func ListCarried(ctx context.Context, snap *snapfile.Snapshot, s store.Store, o CopyOptions) (*Carried, error) {
	if err := o.nameTags(ctx, snap); err != nil {
		return nil, err
	}
	decided, err := o.decided(ctx, s)
	if err != nil {
		return nil, err
	}
	have, err := readLedger(ctx, s, o.Env, o.Topdir)
	if err != nil {
		return nil, err
	}
	if have == nil {
		have = ledger.New()
	}
	copied := func() map[string]bool { return wantedIn(have) }
	plan, _, err := compose.PlanFiles(ctx, snap, o.Want, copied, decided)
	if err != nil {
		return nil, err
	}
	c := &Carried{}
	shards := map[string]bool{} // of a copy of all builds: builds in shards need nothing
	err = eachShardLedger(ctx, s, o.Env, o.Topdir, func(_ string, l *ledger.Ledger) error {
		for _, b := range l.Builds {
			shards[strings.Clone(b.Build.NVR())] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, b := range plan.Staged {
		if shards[b.Build.NVR()] {
			continue
		}
		if err := c.add(b, have, plan.CopyVolume); err != nil {
			return nil, err
		}
	}
	for _, list := range []*[]string{&c.Paths, &c.Unsure} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return c, nil
}

// add adds what is needed of a build.
func (c *Carried) add(s volumes.StagedBuild, have *ledger.Ledger, copyVolume string) error {
	from, err := s.Build.Dir()
	if err != nil {
		return err
	}
	staged := s.Build
	staged.Volume = copyVolume
	dir, err := staged.Dir()
	if err != nil {
		return err
	}
	known := have.Builds[dir]
	if known == nil {
		known = &ledger.Build{}
	}
	for i := range s.Files {
		f := &s.Files[i]
		if known.InSubdir(f) != nil {
			continue
		}
		needs := []string{f.Path}
		if f.Kind == volumes.KindSigned {
			needs = []string{f.Unsigned, f.Sig}
		}
		for _, path := range needs {
			c.Paths = append(c.Paths, from+"/"+path)
		}
		if f.SubdirUnknown {
			c.Unsure = append(c.Unsure, from+"/"+f.Path)
		}
	}
	return nil
}

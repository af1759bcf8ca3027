package shard

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"kojisnap/hardlink/ledger"
	"kojisnap/kojisnap/durable"
	"kojisnap/volumes"
	"kojisnap/volumes/topdir"
)

// plansDir has the plans, below topdir.
const plansDir = ledger.Dir + "/plans"

// keptPlans is how many plans stay, the newest: workers may still be at an earlier one.
const keptPlans = 3

// Want says how the files of all builds are placed. It is part of a plan.
type Want struct {
	SigKeys    []string          `json:"sigkeys,omitempty"` // signed copies that are made if production has pruned them, in lower case
	CopyVolume string            `json:"copy_volume"`       // staging's writable volume
	Volume     string            `json:"volume"`            // staging's name of the volume that is production's topdir
	Rules      map[string]string `json:"rules,omitempty"`   // staging's names of production's volumes where the default will not do
	Volumes    []string          `json:"volumes,omitempty"` // production's
}

func (w Want) want() volumes.Want {
	return volumes.Want{All: true, SigKeys: w.SigKeys, CopyVolume: w.CopyVolume,
		Mapping: volumes.Mapping{Prod: w.Volume, Rules: w.Rules}, ProdVolumes: w.Volumes}
}

// Manifest describes a plan.
type Manifest struct {
	Format     int       `json:"format"`
	Snapshot   string    `json:"snapshot"`
	Event      int64     `json:"event"`
	Made       time.Time `json:"made"`
	Everything bool      `json:"everything"` // the snapshot has all builds of production, not only those of some tags
	Want       Want      `json:"want"`
	Shards     []Info    `json:"shards"` // by id
}

// Info is a shard of a plan.
type Info struct {
	ID     string `json:"id"`
	Builds int    `json:"builds"`
	Total
	Digest string `json:"digest"` // SHA-256 of the shard's rows, in hex
}

// Plan is a plan below a topdir. Its methods may be called concurrently.
type Plan struct {
	Manifest
	dir string
}

const manifestName = "manifest.json"

func (m *Manifest) write(dir string) error {
	return durable.WriteFile(filepath.Join(dir, manifestName), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(m)
	})
}

// name is the directory of a plan: the snapshot and, since it is a part of the plan, a digest of what is wanted.
func (m *Manifest) name() (string, error) {
	if err := volumes.CheckName("snapshot", m.Snapshot); err != nil {
		return "", err
	}
	text, err := json.Marshal(m.Want)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return m.Snapshot + "-" + hex.EncodeToString(sum[:4]), nil
}

// ErrNoPlan says that there is no plan of a snapshot, or that it was removed since.
var ErrNoPlan = errors.New("there is no plan of the shards")

// Open returns the plan of a snapshot below a topdir. Without one the error is ErrNoPlan.
func Open(topdir string, m Manifest) (*Plan, error) {
	name, err := m.name()
	if err != nil {
		return nil, err
	}
	return open(filepath.Join(topdir, plansDir, name))
}

func open(dir string) (*Plan, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoPlan)
	}
	if err != nil {
		return nil, err
	}
	p := &Plan{dir: dir}
	if err := json.Unmarshal(text, &p.Manifest); err != nil {
		return nil, damaged(filepath.Join(dir, manifestName), err)
	}
	if p.Format != format {
		return nil, fmt.Errorf("%s: has format %d, this kojisnap reads %d", filepath.Join(dir, manifestName), p.Format, format)
	}
	for i, s := range p.Shards {
		if err := ledger.CheckShard(s.ID); err != nil || i > 0 && p.Shards[i-1].ID >= s.ID {
			return nil, damaged(filepath.Join(dir, manifestName), fmt.Errorf("shard %q", s.ID))
		}
	}
	return p, nil
}

// Latest returns the newest plan below a topdir, or ErrNoPlan.
func Latest(topdir string) (*Plan, error) {
	plans, err := all(topdir)
	if err != nil {
		return nil, err
	}
	if len(plans) == 0 {
		return nil, fmt.Errorf("topdir %s: %w", topdir, ErrNoPlan)
	}
	return plans[0], nil
}

// all returns the plans below a topdir, the newest first. What cannot be read is none.
func all(topdir string) (plans []*Plan, err error) {
	list, err := os.ReadDir(filepath.Join(topdir, plansDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		if p, err := open(filepath.Join(topdir, plansDir, e.Name())); err == nil {
			plans = append(plans, p)
		}
	}
	slices.SortFunc(plans, func(a, b *Plan) int { return cmp.Or(cmp.Compare(b.Event, a.Event), b.Made.Compare(a.Made)) })
	return plans, nil
}

const tempPrefix = "new-"

// Make returns the plan of a snapshot below a topdir. If there is none it makes one, while others who want it wait: fill adds the
// rows to the spool. m.Shards is ignored. maxShard 0 is the default of Spool.
func Make(ctx context.Context, top *topdir.Dir, m Manifest, maxShard int64, fill func(context.Context, *Spool) error) (*Plan, error) {
	if p, err := Open(top.Path(), m); err == nil || !errors.Is(err, ErrNoPlan) {
		return p, err
	}
	name, err := m.name()
	if err != nil {
		return nil, err
	}
	if err := top.EnsureDir(plansDir); err != nil {
		return nil, err
	}
	unlock, err := ledger.Wait(ctx, top, plansDir+"/lock")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if p, err := Open(top.Path(), m); err == nil || !errors.Is(err, ErrNoPlan) {
		return p, err
	}
	plans := top.Join(plansDir)
	if err := clear(plans); err != nil {
		return nil, err
	}
	m.Made = m.Made.UTC()
	s, err := newSpool(plans, filepath.Join(plans, name), m)
	if err != nil {
		return nil, err
	}
	defer s.Abort()
	s.MaxShard = maxShard
	if err := fill(ctx, s); err != nil {
		return nil, err
	}
	p, err := s.Finish(ctx)
	if err != nil {
		return nil, err
	}
	return p, forget(top.Path(), p)
}

// clear removes what a killed run left.
func clear(plans string) error {
	left, err := filepath.Glob(filepath.Join(plans, tempPrefix+"*"))
	for _, dir := range left {
		err = cmp.Or(err, os.RemoveAll(dir))
	}
	return err
}

// forget removes all but the newest plans.
func forget(topdir string, keep *Plan) error {
	plans, err := all(topdir)
	if err != nil {
		return err
	}
	for i, p := range plans {
		if i < keptPlans || p.dir == keep.dir {
			continue
		}
		// The manifest first: without it there is no plan.
		if err := durable.Remove(filepath.Join(p.dir, manifestName)); err != nil {
			return err
		}
		if err := os.RemoveAll(p.dir); err != nil {
			return err
		}
	}
	return nil
}

func newSpool(plans, final string, m Manifest) (*Spool, error) {
	dir, err := os.MkdirTemp(plans, tempPrefix)
	if err != nil {
		return nil, err
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	m.Format, m.Shards = format, nil
	return &Spool{dir: dir, final: final, want: m.Want.want(), m: m, blocks: map[int64]*block{}, encoder: encoder}, nil
}

// Spooling makes a plan in a temporary directory, for a dry run: nothing is written below topdir. Remove removes it.
func Spooling(ctx context.Context, m Manifest, maxShard int64, fill func(context.Context, *Spool) error) (*Plan, error) {
	dir, err := os.MkdirTemp("", "kojisnap-plan-")
	if err != nil {
		return nil, err
	}
	s, err := newSpool(dir, filepath.Join(dir, "plan"), m)
	if err == nil {
		s.MaxShard = maxShard
		defer s.Abort()
		if err = fill(ctx, s); err == nil {
			var p *Plan
			if p, err = s.Finish(ctx); err == nil {
				return p, nil
			}
		}
	}
	os.RemoveAll(dir)
	return nil, err
}

// Remove removes a plan of Spooling.
func (p *Plan) Remove() error { return os.RemoveAll(filepath.Dir(p.dir)) }

// Shard returns a shard of the plan.
func (p *Plan) Shard(id string) (Info, error) {
	i, ok := slices.BinarySearchFunc(p.Shards, id, func(s Info, id string) int { return strings.Compare(s.ID, id) })
	if !ok {
		return Info{}, fmt.Errorf("the plan of snapshot %s has no shard %q", p.Snapshot, id)
	}
	return p.Shards[i], nil
}

// Part is one of several workers that divide the shards between them.
type Part struct{ I, N int }

// ParsePart reads I/N, 1 ≤ I ≤ N, or I+1/N, where workers are counted from 0.
func ParsePart(text string) (Part, error) {
	i, n, ok := strings.Cut(text, "/")
	i, from0 := strings.CutSuffix(i, "+1")
	at, err1 := strconv.Atoi(i)
	of, err2 := strconv.Atoi(n)
	good := ok && err1 == nil && err2 == nil && i == strconv.Itoa(at) && n == strconv.Itoa(of)
	if from0 {
		at++
	}
	if !good || at < 1 || at > of || of > 1<<20 {
		return Part{}, fmt.Errorf("%q: want I/N, part I of N, such as 1/4", text)
	}
	return Part{at, of}, nil
}

func (p Part) String() string { return fmt.Sprintf("%d/%d", p.I, p.N) }

// Of returns a part's shards, the largest first. The zero Part has all. Whatever N is, each shard is in one part, and the parts
// have about the same number of bytes: each shard goes to the part that has least.
func (p *Plan) Of(part Part) []Info {
	shards := slices.Clone(p.Shards)
	slices.SortFunc(shards, func(a, b Info) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.ID, b.ID)) })
	if part.N <= 1 {
		return shards
	}
	var own []Info
	has, count := make([]int64, part.N), make([]int, part.N)
	for _, s := range shards {
		least := 0
		for i := range has {
			if has[i] < has[least] || has[i] == has[least] && count[i] < count[least] {
				least = i
			}
		}
		has[least] += s.Bytes
		count[least]++
		if least == part.I-1 {
			own = append(own, s)
		}
	}
	return own
}

// Read reads a shard's builds, in the order of their ids.
func (p *Plan) Read(s Info) ([]Build, error) {
	builds, err := readFile(filepath.Join(p.dir, s.ID+".zst"), s.Digest)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("shard %s of snapshot %s: %w: a later copy has removed it, or a part of it is lost", s.ID, p.Snapshot, ErrNoPlan)
	}
	return builds, err
}

// damaged says that a file of a plan is not as it was written, and what helps.
func damaged(path string, why error) error {
	return fmt.Errorf("%s: is damaged: %w; remove the directory, and the next copy plans anew", path, why)
}

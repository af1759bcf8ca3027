package hardlink

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"kojisnap/hardlink/ledger"
	"kojisnap/volumes"
)

// Summary counts the files of a plan by what happens to them.
type Summary struct {
	Total Sums      `json:"total"` // counts each build once
	Tags  []TagArch `json:"tags"`  // by tag and arch; a build counts for each of its tags, or for the tag ""
}

// TagArch counts the files of one arch in the builds of one tag. Without a tag, the builds are those that are
// wanted by name. Archives have no arch.
type TagArch struct {
	Tag  string `json:"tag"`
	Arch string `json:"arch"`
	Sums
}

// Sums are counts of files. Files is the sum of all others.
type Sums struct {
	Files   Sum        `json:"files"`
	Present Sum        `json:"present"`  // exist already
	Make    map[Op]Sum `json:"make"`     // will be made, by way
	Absent  Sum        `json:"absent"`   // optional files that production does not have
	Missing Sum        `json:"missing"`  // wanted files that no source has
	LeftOut Sum        `json:"left_out"` // files of builds that are left out, for a missing file or for what staging has there
}

// Sum is a number of files, and of their bytes as far as known.
type Sum struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (s *Sum) add(bytes int64) {
	s.Files++
	s.Bytes += max(bytes, 0)
}

// Summary counts the files of the plan for which Diff computed the actions.
func (a *Actions) Summary(plan volumes.Plan) Summary {
	made := map[string]*BuildAction{}
	for i := range a.Builds {
		made[a.Builds[i].Dir] = &a.Builds[i]
	}
	left := map[string]bool{}
	for _, b := range a.LeftOut {
		left[b.NVR()] = true
	}
	missing := map[[2]string]bool{}
	for _, m := range a.Missing {
		missing[[2]string{m.Build, m.Path}] = true
	}
	s := Summary{Total: newSums()}
	rows := map[[2]string]*TagArch{}
	for i := range plan.Staged {
		b := &plan.Staged[i]
		staged := b.Build
		staged.Volume = plan.CopyVolume
		dir, _ := staged.Dir() // Diff has checked it
		making := map[string]*FileAction{}
		if action := made[dir]; action != nil {
			for j := range action.Files {
				if fa := &action.Files[j]; fa.File != nil {
					making[fileKey(fa.File)] = fa
				}
			}
		}
		known := a.known.Builds[dir]
		tags := b.Tags
		if len(tags) == 0 {
			tags = []string{""}
		}
		for j := range b.Files {
			f := &b.Files[j]
			sums := []*Sums{&s.Total}
			for _, tag := range tags {
				key := [2]string{tag, f.Arch()}
				if rows[key] == nil {
					rows[key] = &TagArch{tag, f.Arch(), newSums()}
				}
				sums = append(sums, &rows[key].Sums)
			}
			bytes, how := f.Size, func(s *Sums) *Sum { return &s.Present }
			var entry *ledger.Entry
			if known != nil {
				entry = known.Find(f)
			}
			switch fa := making[fileKey(f)]; {
			case fa != nil:
				bytes = fa.Bytes
				for _, s := range sums {
					m := s.Make[fa.Op]
					m.add(bytes)
					s.Make[fa.Op] = m
				}
				how = func(*Sums) *Sum { return &Sum{} }
			case missing[[2]string{b.Build.NVR(), f.Path}]:
				how = func(s *Sums) *Sum { return &s.Missing }
			case left[b.Build.NVR()]:
				how = func(s *Sums) *Sum { return &s.LeftOut }
			case entry != nil && !entry.Absent:
				bytes = entry.Size
			case f.Optional:
				bytes = 0
				how = func(s *Sums) *Sum { return &s.Absent }
			}
			for _, s := range sums {
				s.Files.add(bytes)
				how(s).add(bytes)
			}
		}
	}
	s.Tags = []TagArch{}
	for _, row := range rows {
		s.Tags = append(s.Tags, *row)
	}
	slices.SortFunc(s.Tags, func(x, y TagArch) int { return cmp.Or(cmp.Compare(x.Tag, y.Tag), cmp.Compare(x.Arch, y.Arch)) })
	return s
}

func newSums() Sums { return Sums{Make: map[Op]Sum{}} }

// fileKey identifies a file of a build, even before its directory is known.
func fileKey(f *volumes.File) string {
	if f.SubdirUnknown {
		return f.Digest + " " + path.Base(f.Path)
	}
	return f.Path
}

// WriteTo prints a line for each tag and arch, and a total.
func (s Summary) WriteTo(w io.Writer) (int64, error) {
	c := &counting{w: bufio.NewWriter(w)}
	for _, t := range s.Tags {
		of := "tag " + t.Tag
		if t.Tag == "" {
			of = "builds by name"
		}
		fmt.Fprintf(c, "%s %s: %s\n", of, cmp.Or(t.Arch, "archives"), t.Sums)
	}
	fmt.Fprintf(c, "all: %s\n", s.Total)
	return c.n, c.w.Flush()
}

func (s Sums) String() string {
	text := fmt.Sprintf("%d files %d bytes", s.Files.Files, s.Files.Bytes)
	part := func(name string, n Sum) {
		if n.Files > 0 {
			text += fmt.Sprintf(", %s %d files %d bytes", name, n.Files, n.Bytes)
		}
	}
	part("present", s.Present)
	for _, op := range slices.Sorted(maps.Keys(s.Make)) {
		part(string(op), s.Make[op])
	}
	part("absent", s.Absent)
	part("missing", s.Missing)
	part("left out", s.LeftOut)
	return text
}

// Report says what Apply did.
type Report struct {
	Present      int    `json:"present"` // files that were there already
	Absent       int    `json:"absent"`  // optional files that production does not have
	Adopted      int    `json:"adopted"` // present files and symlinks that the ledger did not have
	Linked       int    `json:"hardlinked"`
	Reflinked    int    `json:"reflinked"`
	Copied       int    `json:"copied"`
	Spliced      int    `json:"spliced"`
	Fetched      int    `json:"fetched"`
	Symlinked    int    `json:"symlinked"`
	Bytes        int64  `json:"bytes"`         // of files made
	FetchedBytes int64  `json:"fetched_bytes"` // of Bytes, those that came from a URL or a bucket
	Builds       int    `json:"builds"`
	Links        int    `json:"links"`   // symlinks of volumes and on DEFAULT
	Strays       int    `json:"strays"`  // directories left by failed moves, removed
	Removed      int    `json:"removed"` // removed builds
	RemovedFiles int    `json:"removed_files"`
	RemovedBytes int64  `json:"removed_bytes"`
	RemovedLinks int    `json:"removed_links"`
	Stale        int    `json:"stale"`   // removed files and symlinks of wanted builds that production no longer has
	Owned        int    `json:"owned"`   // files, directories and symlinks that got an owner or a mode
	Leaving      int    `json:"leaving"` // builds found unwanted by this run
	Grace        int    `json:"grace"`   // unwanted builds that stay for some time yet
	Kept         []Kept `json:"kept,omitempty"`
}

func (r *Report) count(op Op, bytes int64) {
	switch op {
	case OpLink:
		r.Linked++
	case OpReflink:
		r.Reflinked++
	case OpCopy:
		r.Copied++
	case OpSplice:
		r.Spliced++
	case OpFetch:
		r.Fetched++
		r.FetchedBytes += bytes
	case OpSymlink:
		r.Symlinked++
	}
	r.Bytes += bytes
}

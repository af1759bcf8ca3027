package volumes

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// CopyVolume is the default name of the writable volume for copied builds.
const CopyVolume = "staged"

// Kind says what a planned file is, and how it is verified.
type Kind string

const (
	KindRPM       Kind = "rpm"       // the primary copy: Size and SIGMD5
	KindSigned    Kind = "signed"    // a signed copy: SIGMD5 and the key
	KindSignature Kind = "signature" // a cached signature header: MD5 (rpmsigs.sighash)
	KindArchive   Kind = "archive"   // Size and checksum
	KindOther     Kind = "other"     // no row names it: Size and time at the source, see StatDigest
)

// File is a file that must exist as a regular file.
type File struct {
	Path   string `json:"path"` // below the build's directory
	Kind   Kind   `json:"kind"`
	Size   int64  `json:"size"`   // bytes; -1: the database does not know
	Digest string `json:"digest"` // ALGORITHM:HEX, ALGORITHM one of sigmd5, rpmsha256 (see RPMDigest), md5, sha1, sha256; of KindOther StatDigest
	// Key is the sigkey of a signed copy. It can be made from the files Unsigned
	// and Sig (koji.splice_rpm_sighdr); SigDigest is the digest of Sig.
	Key       string `json:"key,omitempty"`
	Unsigned  string `json:"unsigned,omitempty"`
	Sig       string `json:"sig,omitempty"`
	SigDigest string `json:"sig_digest,omitempty"`
	// UnsignedSize is the size of Unsigned. The database does not have the size of a signed copy, but
	// both files are the same after the signature header.
	UnsignedSize int64 `json:"unsigned_size,omitempty"`
	// AsIs: the signed copy is copied if production has it, and never made from Unsigned and Sig.
	AsIs bool `json:"as_is,omitempty"`
	// Headers are the digests of the signature headers that the primary copy of an rpm may have, by
	// key: KEY=md5:HEX, separated by blanks. The file's own header tells which one it has.
	Headers string `json:"headers,omitempty"`
	// Optional: no compose opens the file, so it may be missing at the source.
	Optional bool `json:"optional,omitempty"`
	// SubdirUnknown: a content generator may have put the archive into a subdirectory, which the
	// database does not name. Path is its path without one; several archives may have the same Path.
	SubdirUnknown bool `json:"deep,omitempty"`
}

// Arch is the arch of an rpm's file, "" for an archive.
func (f *File) Arch() string {
	if f.Kind == KindArchive {
		return ""
	}
	return path.Base(path.Dir(f.Path))
}

// Matches reports whether a file at there can be this one: there is its path or, if its subdirectory is
// unknown, its path plus a subdirectory.
func (f *File) Matches(at string) bool {
	if at == f.Path || !f.SubdirUnknown {
		return at == f.Path
	}
	slash := strings.LastIndexByte(f.Path, '/') + 1
	return strings.HasPrefix(at, f.Path[:slash]) && strings.HasSuffix(at, f.Path[slash-1:])
}

// StagedBuild is a build with files that a compose needs.
type StagedBuild struct {
	Build        Build  `json:"build"`  // with production's volume
	SourceVolume string `json:"behind"` // the staging volume that leads to production's files of the build
	Files        []File `json:"files"`  // by path
	// Tags are the wanted tags that have it.
	Tags []string `json:"tags,omitempty"`

	rows *BuildFiles // the rows that Files were chosen from; see AllFiles
}

// Plan lists the files and symlinks that must be below topdir. It is plain data,
// and sorted, so that two plans of the same rows are equal.
type Plan struct {
	CopyVolume string        `json:"copy_volume"`
	Prod       string        `json:"prod"`    // the staging volume that is production's topdir
	Volumes    []VolumeLink  `json:"volumes"` // those of production's other volumes
	Staged     []StagedBuild `json:"staged"`  // on CopyVolume; by name, version, release
	Linked     []Build       `json:"linked"`  // DEFAULT's symlink leads there; Volume is staging's
	// Decided are builds that staging itself deleted, reset, promoted or moved. kojisnap makes no files
	// and no symlink for them, and changes or removes no symlink of theirs.
	Decided []Build `json:"decided,omitempty"`
	// Held are builds and volumes whose rows cannot be used: wanted builds that are not staged, and
	// volumes without a link.
	Held []Held `json:"held,omitempty"`
	// Sample has a few builds of each of production's volumes, evenly spread. They are not staged, and
	// the snapshot knows files of them, so production must have these. Volume is production's.
	Sample []Build `json:"-"`
	// Production are the names of production's volumes.
	Production []string `json:"-"`
}

// Input has the database's facts about files.
type Input struct {
	Builds []BuildFiles // builds to copy
	Others []Other      // all other complete builds: they stay on the read-only volume
	// Decided are complete builds of production about which staging itself decided: see Plan.Decided.
	Decided []Build
}

// Other is a complete build that is not copied.
type Other struct {
	Build
	Files bool // the database has files of the build
}

// BuildFiles is a build with all of its files that the database knows.
type BuildFiles struct {
	Build
	RPMs     []RPMFile
	Archives []ArchiveFile
	Tags     []string // the wanted tags that have the build
}

// RPMFile is a row of rpminfo, with its rows of rpmsigs.
type RPMFile struct {
	RPM
	Size         int64
	PayloadHash  string // SIGMD5 in hex
	MetadataOnly bool   // no file
	Sigs         []Signature
}

// Signature is a row of rpmsigs. The key is empty for the unsigned header.
type Signature struct{ Key, Hash string }

// ArchiveFile is a row of archiveinfo, with its path below the build's directory
// as MavenPath, WinPath, ImagePath or TypePath gives it.
type ArchiveFile struct {
	Path         string
	BType        string
	Size         int64
	Checksum     string
	ChecksumType int   // koji.CHECKSUM_TYPES: 0 md5, 1 sha1, 2 sha256
	MetadataOnly bool  // no file
	Err          error // why the archive has no valid path
}

// Want says which files of a copied build must be regular ones. The others are
// symlinks into the read-only volume.
type Want struct {
	// Arches a compose is made for; empty: all. noarch and source rpms, and the
	// rpms of compatible arches (i686 for x86_64), are always among them.
	Arches []string
	// SigKeys are the keys whose signed copies are wanted, in upper or lower case.
	// "" is the unsigned rpm. An rpm without any of these signatures is wanted
	// unsigned, and so is every rpm if SigKeys is empty.
	SigKeys []string
	// BTypes are the build types whose archives are wanted; empty: all.
	BTypes []string
	// All wants every file of every row: each signed copy that production still has, besides those of SigKeys,
	// which are made if need be, and each primary copy. Arches and BTypes must be empty.
	All bool
	// CopyVolume is the writable volume; "" is CopyVolume.
	CopyVolume string
	// Mapping of production's volumes.
	Mapping Mapping
	// ProdVolumes are production's volumes that get a link even if no build of the
	// input is on them.
	ProdVolumes []string
}

// compatible are the rpm arches that a compose of an arch takes besides its own
// (koji.arch, as far as Fedora and EL have built them).
var compatible = map[string][]string{
	"x86_64":  {"i386", "i486", "i586", "i686", "athlon", "x86_64_v2", "x86_64_v3", "x86_64_v4", "amd64", "ia32e"},
	"i386":    {"i486", "i586", "i686", "athlon"},
	"i686":    {"i386", "i486", "i586", "athlon"},
	"armhfp":  {"armv7hl", "armv7hnl"},
	"ppc64le": {"ppc64p9le"},
}

type wanted struct {
	Want
	arches, btypes map[string]bool // nil: all
	unsigned       bool
	keys           []string
}

func newWanted(want Want) wanted {
	w := wanted{Want: want}
	if w.CopyVolume == "" {
		w.CopyVolume = CopyVolume
	}
	if len(want.Arches) > 0 {
		w.arches = map[string]bool{"noarch": true, "src": true, "nosrc": true}
		for _, a := range want.Arches {
			w.arches[a] = true
			for _, c := range compatible[a] {
				w.arches[c] = true
			}
		}
	}
	if len(want.BTypes) > 0 {
		w.btypes = map[string]bool{}
		for _, t := range want.BTypes {
			w.btypes[t] = true
		}
	}
	for _, k := range want.SigKeys {
		k = strings.ToLower(k)
		if k == "" {
			w.unsigned = true
		} else if !slices.Contains(w.keys, k) {
			w.keys = append(w.keys, k)
		}
	}
	return w
}

// builds plans all builds, on all processors. errs[i] is the error of build i.
func (w wanted) builds(builds []BuildFiles) (staged []StagedBuild, errs []error) {
	staged, errs = make([]StagedBuild, len(builds)), make([]error, len(builds))
	var wg sync.WaitGroup
	const chunk = 256
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(builds)/chunk+1) {
		wg.Go(func() {
			for {
				from := int(next.Add(chunk)) - chunk
				if from >= len(builds) {
					return
				}
				for i := from; i < min(from+chunk, len(builds)); i++ {
					staged[i], errs[i] = w.build(builds[i])
				}
			}
		})
	}
	wg.Wait()
	return staged, errs
}

func (w wanted) build(b BuildFiles) (StagedBuild, error) {
	s := StagedBuild{Build: b.Build, SourceVolume: w.Mapping.Staging(b.Volume), Tags: b.Tags, rows: &b}
	most := len(b.Archives) // what is not used of it stays in memory, and there may be half a million
	for i := range b.RPMs {
		most += w.count(&b.RPMs[i])
	}
	s.Files = make([]File, 0, most)
	var err error
	for _, r := range b.RPMs {
		if r.MetadataOnly || w.arches != nil && !w.arches[r.Arch] {
			continue
		}
		if s.Files, err = w.rpm(s.Files, r); err != nil {
			return s, err
		}
	}
	for _, a := range b.Archives {
		if a.MetadataOnly || w.btypes != nil && !w.btypes[a.BType] {
			continue
		}
		if a.Err != nil {
			return s, a.Err
		}
		if err := CheckPath("archive path", a.Path); err != nil {
			return s, err
		}
		algorithms := [...]string{"md5", "sha1", "sha256"}
		if a.ChecksumType < 0 || a.ChecksumType >= len(algorithms) {
			return s, fmt.Errorf("archive %q: checksum type %d is unknown", a.Path, a.ChecksumType)
		}
		digest, err := digest(algorithms[a.ChecksumType], a.Checksum)
		if err != nil {
			return s, fmt.Errorf("archive %q: %w", a.Path, err)
		}
		// A content generator's subdirectory (koji's import_archive_internal: of other types
		// than maven, win and image) is not in the database.
		deep := strings.HasPrefix(a.Path, "files/")
		s.Files = append(s.Files, File{Path: a.Path, Kind: KindArchive, Size: a.Size, Digest: digest, Optional: deep, SubdirUnknown: deep})
	}
	slices.SortFunc(s.Files, func(a, b File) int {
		if c := strings.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	return s, unique(&s)
}

// unique drops equal entries for the same file. Two archives of one name in different
// subdirectories look like one path with two digests.
func unique(s *StagedBuild) error {
	s.Files = slices.Compact(s.Files)
	for i := 1; i < len(s.Files); i++ {
		if f := &s.Files[i]; f.Path == s.Files[i-1].Path && !f.SubdirUnknown {
			return fmt.Errorf("file %q: in the plan twice with different digests", f.Path)
		}
	}
	return nil
}

// count is how many files rpm adds, at most.
func (w wanted) count(r *RPMFile) int {
	if r.MetadataOnly || w.arches != nil && !w.arches[r.Arch] {
		return 0
	}
	signed := 0
	for i := range r.Sigs {
		if w.All || slices.Contains(w.keys, strings.ToLower(r.Sigs[i].Key)) {
			signed++
		}
	}
	if w.unsigned || w.All || signed == 0 {
		return len(r.Sigs) + signed + 1
	}
	return len(r.Sigs) + signed
}

// rpm adds the files of an rpm.
func (w wanted) rpm(files []File, r RPMFile) ([]File, error) {
	path, err := r.Path()
	if err != nil {
		return nil, err
	}
	content, err := RPMDigest(r.PayloadHash)
	if err != nil {
		return nil, fmt.Errorf("rpm %q: payloadhash: %w", r.File(), err)
	}
	signed := false
	for _, s := range r.Sigs {
		key := strings.ToLower(s.Key)
		sigPath, err := sigPath(path, key)
		if err != nil {
			return nil, err
		}
		sighash, err := digest("md5", s.Hash)
		if err != nil {
			return nil, fmt.Errorf("rpm %q: sighash of key %q: %w", r.File(), key, err)
		}
		files = append(files, File{Path: sigPath, Kind: KindSignature, Size: -1, Digest: sighash, Optional: true})
		made := slices.Contains(w.keys, key)
		if key == "" || !made && !w.All {
			continue
		}
		signed = true
		signedPath, err := signedPath(path, key)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: signedPath, Kind: KindSigned, Size: -1, Digest: content,
			Key: key, Unsigned: path, Sig: sigPath, SigDigest: sighash, UnsignedSize: max(r.Size, 0), AsIs: !made, Optional: !made})
	}
	if w.unsigned || w.All || !signed {
		files = append(files, File{Path: path, Kind: KindRPM, Size: r.Size, Digest: content, Headers: Headers(r.Sigs)})
	}
	return files, nil
}

func compareBuilds(a, b Build) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.Release, b.Release))
}

func compareHeld(a, b Held) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Reason, b.Reason))
}

func linkNames(links []VolumeLink) (names []string) {
	for _, l := range links {
		names = append(names, l.Name)
	}
	return names
}

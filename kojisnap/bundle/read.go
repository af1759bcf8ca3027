package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
	"kojisnap/kojisnap/store/signed"
)

// Options of Read.
type Options struct {
	Keys     signed.Options // the manifest must be signed by one of them; without any, none need be
	TempDir  string         // where a segment is until its digest is known; empty: the system's directory
	DryRun   bool           // check all, and write nothing
	Log      *slog.Logger
	Progress progress.Progress
}

// Result is what a bundle brought.
type Result struct {
	Snapshot string `json:"snapshot"`
	Event    int64  `json:"event"`
	Since    string `json:"since,omitempty"`    // the snapshot whose segments it is without
	Existing bool   `json:"existing,omitempty"` // the store had the snapshot
	Segments int    `json:"segments"`           // in the bundle
	Bytes    int64  `json:"bytes"`              // of those

	Manifest *snapfile.Manifest `json:"-"`
}

// Read takes the snapshot of a bundle into a store. A segment is written when its digest is known to be right, the
// manifest last, when all is there: a bundle that is cut off, damaged or made up makes no snapshot. It holds one
// segment at a time, in a temporary file. Wrong content is a *snapfile.DamagedError, a manifest that no key has signed
// a *snapfile.UntrustedError.
func Read(ctx context.Context, in io.Reader, s store.Store, o Options) (*Result, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if s == nil && o.DryRun {
		s = objects{} // the store is not there yet
	}
	r := &reader{opt: o, store: repository.WithoutSignatures(s), tar: tar.NewReader(in), got: map[string]bool{}}
	if !o.DryRun {
		// Until it is taken back no prune takes away what the snapshot needs.
		release, _, err := repository.WriteLease(ctx, r.store, o.Log)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	if err := r.begin(); err != nil {
		return nil, err
	}
	work := progress.OrDiscard(o.Progress).Begin("unbundle", r.head.Bytes)
	defer work.End()
	for !r.ended {
		n, err := r.entry(ctx)
		if err != nil {
			return nil, err
		}
		work.Add(n)
	}
	return r.publish(ctx)
}

// reader reads one bundle.
type reader struct {
	opt   Options
	store store.Store // without keys
	tar   *tar.Reader

	head      Header
	at        string // the entry that is read
	got       map[string]bool
	bytes     int64
	signature []byte
	manifest  []byte
	ended     bool
}

// begin reads the header.
func (r *reader) begin() error {
	h, err := r.next()
	if err != nil {
		return err
	}
	if h == nil || h.Name != headerName {
		return errors.New("this is no bundle of kojisnap's: it does not begin with " + headerName)
	}
	body, err := r.small(h, maxHeader)
	if err != nil {
		return err
	}
	return r.head.decode(body)
}

// next returns the head of the next entry, nil at the end.
func (r *reader) next() (*tar.Header, error) {
	h, err := r.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil
	case errors.Is(err, tar.ErrHeader) && r.at == "":
		return nil, damaged("the bundle", "it is no tar file: this is no bundle of kojisnap's")
	case errors.Is(err, tar.ErrHeader):
		return nil, damaged("the bundle", "after "+r.where()+" is no entry of a tar file")
	case err != nil:
		return nil, r.cut(err)
	case h.Typeflag != tar.TypeReg:
		return nil, damaged("the bundle", fmt.Sprintf("%.100q is no regular file", h.Name))
	}
	r.at = fmt.Sprintf("%.100q", h.Name)
	return h, nil
}

func (r *reader) where() string {
	if r.at == "" {
		return "the beginning"
	}
	return r.at
}

// cut says where a bundle ends that has no end, or could not be read.
func (r *reader) cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		if r.at == "" {
			return errors.New("this is no bundle of kojisnap's, or only the beginning of one: carry it over once more")
		}
		return fmt.Errorf("the bundle is cut off at %s: carry it over once more", r.where())
	}
	return fmt.Errorf("the bundle at %s: %w", r.where(), err)
}

// entry reads one entry after the header.
func (r *reader) entry(ctx context.Context) (n int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	h, err := r.next()
	if err != nil {
		return 0, err
	}
	object, err := snapfile.ManifestObject(r.head.Snapshot)
	if err != nil {
		return 0, err
	}
	switch {
	case h == nil && r.manifest == nil:
		return 0, fmt.Errorf("the bundle is cut off after %s: it has no manifest, which comes last: carry it over once more", r.where())
	case h == nil:
		r.ended = true
		return 0, nil
	case r.manifest != nil:
		return 0, damaged("the bundle", fmt.Sprintf("%s comes after the manifest", r.at))
	case r.got[h.Name]:
		return 0, damaged("the bundle", fmt.Sprintf("%s is there twice", r.at))
	case h.Name == object:
		r.manifest, err = r.small(h, snapfile.MaxManifest)
		return 0, err
	case r.signature != nil:
		return 0, damaged("the bundle", fmt.Sprintf("%s comes after the signature", r.at))
	case h.Name == snapfile.SignatureObject(object):
		r.signature, err = r.small(h, maxSignature)
		return 0, err
	case segmentName.MatchString(h.Name):
		return h.Size, r.segment(ctx, h)
	}
	return 0, damaged("the bundle", fmt.Sprintf("%s does not belong to snapshot %s", r.at, r.head.Snapshot))
}

// small reads an entry whole.
func (r *reader) small(h *tar.Header, most int64) ([]byte, error) {
	if h.Size > most {
		return nil, damaged(h.Name, fmt.Sprintf("it has %d bytes, more than %d", h.Size, most))
	}
	body, err := readMost(h.Name, r.tar, most)
	if err != nil {
		return nil, r.cut(err)
	}
	if body == nil {
		body = []byte{} // it was there
	}
	return body, nil
}

// segment takes a segment.
func (r *reader) segment(ctx context.Context, h *tar.Header) error {
	if h.Size > maxSegment {
		return damaged(h.Name, fmt.Sprintf("it has %d bytes, more than any segment", h.Size))
	}
	if len(r.got) >= r.head.Segments {
		return damaged("the bundle", fmt.Sprintf("it has more than the %d segments that %s says", r.head.Segments, headerName))
	}
	file, err := scratch(r.opt.TempDir)
	if err != nil {
		return err
	}
	defer file.Close()
	in := &source{Reader: r.tar}
	if _, err := io.Copy(file, in); err != nil {
		if in.err != nil {
			return r.cut(in.err)
		}
		return scratchError(r.opt.TempDir, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := checkSegment(h.Name, file); err != nil {
		return err
	}
	r.got[h.Name] = true
	r.bytes += h.Size
	if r.opt.DryRun {
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return r.store.Put(ctx, h.Name, file) // over what is there: that may be damaged
}

// publish writes signature and manifest, if all that the snapshot needs is there.
func (r *reader) publish(ctx context.Context) (*Result, error) {
	object, err := snapfile.ManifestObject(r.head.Snapshot)
	if err != nil {
		return nil, err
	}
	if len(r.got) != r.head.Segments || r.bytes != r.head.Bytes {
		return nil, damaged("the bundle", fmt.Sprintf("it has %d segments of %d bytes, and %s says %d of %d", len(r.got), r.bytes, headerName, r.head.Segments, r.head.Bytes))
	}
	if err := r.checkSignature(); err != nil {
		return nil, err
	}
	carried := signed.New(objects{object: r.manifest, snapfile.SignatureObject(object): r.signature}, r.opt.Keys)
	snap, err := snapfile.Open(ctx, carried.Get, r.head.Snapshot)
	if err != nil {
		return nil, err
	}
	if err := r.checkComplete(ctx, snap); err != nil {
		return nil, err
	}
	result := &Result{Snapshot: snap.ID, Event: snap.Manifest.Event, Since: r.head.Since, Segments: len(r.got), Bytes: r.bytes, Manifest: snap.Manifest}
	if result.Existing, err = r.exists(ctx, object); err != nil || r.opt.DryRun {
		return result, err
	}
	if r.signature != nil {
		if err := r.store.Put(ctx, snapfile.SignatureObject(object), bytes.NewReader(r.signature)); err != nil {
			return nil, err
		}
	}
	return result, repository.PutImmutable(ctx, r.store, object, r.manifest)
}

// checkSignature compares the signature with the header: it may be that nobody here has the key.
func (r *reader) checkSignature() error {
	if r.signature == nil && r.head.Signature == "" {
		return nil
	}
	sum := sha256.Sum256(r.signature)
	if got := hex.EncodeToString(sum[:]); r.signature == nil || got != r.head.Signature {
		return damaged("the signature", "its SHA-256 is not what "+headerName+" says")
	}
	return nil
}

// checkComplete refuses a bundle without all segments that its snapshot needs and the store lacks, and one with others.
func (r *reader) checkComplete(ctx context.Context, snap *snapfile.Snapshot) error {
	entries, err := r.store.List(ctx, "segments/")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name] = true
	}
	lacks, known := 0, map[string]bool{}
	for _, name := range segmentsOf(snap.Manifest) {
		known[name] = true
		if !r.got[name] && !there[name] {
			lacks++
		}
	}
	for name := range r.got {
		if !known[name] {
			return damaged(name, "snapshot "+snap.ID+" does not name it")
		}
	}
	switch {
	case lacks > 0 && r.head.Since != "":
		return fmt.Errorf("the bundle is without %d segments that snapshot %s has, since which it was made, and %s lacks them: unbundle %s first, or carry a bundle of %s that was made without --since", lacks, r.head.Since, r.store, r.head.Since, snap.ID)
	case lacks > 0:
		return damaged("the bundle", fmt.Sprintf("%d segments of snapshot %s are missing", lacks, snap.ID))
	}
	return nil
}

func (r *reader) exists(ctx context.Context, object string) (bool, error) {
	in, err := r.store.Get(ctx, object)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, in.Close()
}

// objects is a store of what a bundle carries, to read.
type objects map[string][]byte

func (o objects) Get(_ context.Context, name string) (io.ReadCloser, error) {
	body := o[name]
	if body == nil {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(body)), nil
}

func (o objects) List(_ context.Context, prefix string) (all []store.Entry, _ error) {
	for name, body := range o {
		if strings.HasPrefix(name, prefix) && body != nil {
			all = append(all, store.Entry{Name: name, Size: int64(len(body)), ModTime: time.Unix(0, 0)})
		}
	}
	return store.Sort(all), nil
}

func (o objects) Put(context.Context, string, io.ReadSeeker) error { return errors.ErrUnsupported }
func (o objects) Delete(context.Context, string) error             { return errors.ErrUnsupported }
func (o objects) String() string                                   { return "the bundle" }

package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"kojisnap/kojisnap/progress"
	"kojisnap/kojisnap/repository"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

// Bundle is what a bundle is made of.
type Bundle struct {
	Header
	store     store.Store // without keys: what it holds is carried as it is
	manifest  []byte
	signature []byte // nil: none
	segments  []store.Entry
}

// Plan finds what a bundle of a snapshot consists of: with since, without the segments of that snapshot, which the
// receiver has. Both must be in the store and, if it has keys, trusted. A segment that is missing is an error.
func Plan(ctx context.Context, s store.Store, id, since string) (*Bundle, error) {
	snap, err := repository.Open(ctx, s, id)
	if err != nil {
		return nil, err
	}
	b := &Bundle{Header: Header{Format: formatName, Version: formatVersion, Snapshot: snap.ID}, store: repository.WithoutSignatures(s)}
	has := map[string]bool{}
	if since != "" {
		base, err := repository.Open(ctx, s, since)
		if err != nil {
			return nil, fmt.Errorf("since: %w", err)
		}
		b.Since = base.ID
		for _, name := range segmentsOf(base.Manifest) {
			has[name] = true
		}
	}
	object, err := snapfile.ManifestObject(snap.ID)
	if err != nil {
		return nil, err
	}
	if b.manifest, err = readAll(ctx, b.store, object, snapfile.MaxManifest); err != nil {
		return nil, err
	}
	if b.signature, err = readAll(ctx, b.store, snapfile.SignatureObject(object), maxSignature); err == nil {
		sum := sha256.Sum256(b.signature)
		b.Signature = hex.EncodeToString(sum[:])
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return b, b.findSegments(ctx, snap, has)
}

// findSegments finds the segments that are wanted, with their sizes.
func (b *Bundle) findSegments(ctx context.Context, snap *snapfile.Snapshot, has map[string]bool) error {
	there := map[string]store.Entry{}
	entries, err := b.store.List(ctx, "segments/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		there[e.Name] = e
	}
	for _, name := range segmentsOf(snap.Manifest) {
		if has[name] {
			continue
		}
		e, ok := there[name]
		switch {
		case !ok:
			return damaged(name, fmt.Sprintf("snapshot %s names it, and it is not in %s", snap.ID, b.store))
		case e.Size > maxSegment:
			return damaged(name, fmt.Sprintf("it has %d bytes", e.Size))
		}
		b.segments = append(b.segments, e)
		b.Bytes += e.Size
	}
	b.Segments = len(b.segments)
	return nil
}

// Check reads every segment of the bundle, and compares its digest.
func (b *Bundle) Check(ctx context.Context, bar progress.Progress) error {
	work := progress.OrDiscard(bar).Begin("check", b.Bytes)
	defer work.End()
	for _, e := range b.segments {
		r, err := b.store.Get(ctx, e.Name)
		if err != nil {
			return err
		}
		err = checkSegment(e.Name, r)
		r.Close()
		if err != nil {
			return err
		}
		work.Add(e.Size)
	}
	return nil
}

// Write writes the bundle. It copies the segments as they are; see Check.
func (b *Bundle) Write(ctx context.Context, w io.Writer, bar progress.Progress) error {
	work := progress.OrDiscard(bar).Begin("bundle", b.Bytes)
	defer work.End()
	tw := tar.NewWriter(w)
	head, err := json.Marshal(b.Header)
	if err != nil {
		return err
	}
	if err := b.add(tw, headerName, append(head, '\n')); err != nil {
		return err
	}
	buffer := make([]byte, 256<<10)
	for _, e := range b.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := b.addSegment(ctx, tw, e, buffer); err != nil {
			return err
		}
		work.Add(e.Size)
	}
	object, err := snapfile.ManifestObject(b.Snapshot)
	if err != nil {
		return err
	}
	if b.signature != nil {
		if err := b.add(tw, snapfile.SignatureObject(object), b.signature); err != nil {
			return err
		}
	}
	if err := b.add(tw, object, b.manifest); err != nil {
		return err
	}
	return tw.Close()
}

// begin writes the head of an entry. Nothing in it depends on this machine or on the time.
func (b *Bundle) begin(tw *tar.Writer, name string, size int64) error {
	return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
}

func (b *Bundle) add(tw *tar.Writer, name string, body []byte) error {
	if err := b.begin(tw, name, int64(len(body))); err != nil {
		return err
	}
	_, err := tw.Write(body)
	return err
}

func (b *Bundle) addSegment(ctx context.Context, tw *tar.Writer, e store.Entry, buffer []byte) error {
	r, err := b.store.Get(ctx, e.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := b.begin(tw, e.Name, e.Size); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{tw}, r, buffer)
	switch {
	case errors.Is(err, tar.ErrWriteTooLong):
		return damaged(e.Name, fmt.Sprintf("it has more than the %d bytes that the listing of %s says", e.Size, b.store))
	case err != nil:
		return fmt.Errorf("%s: %w", e.Name, err)
	case n != e.Size:
		return damaged(e.Name, fmt.Sprintf("it has %d bytes, and by the listing of %s %d", n, b.store, e.Size))
	}
	return nil
}

// onlyWriter hides the other methods of a writer from io.CopyBuffer.
type onlyWriter struct{ io.Writer }

// readAll reads a small object whole.
func readAll(ctx context.Context, s store.Store, name string, most int64) ([]byte, error) {
	r, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readMost(name, r, most)
}

// readMost reads no more than most.
func readMost(name string, r io.Reader, most int64) ([]byte, error) {
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = damaged(name, fmt.Sprintf("it has more than %d bytes", most))
	}
	return b.Bytes(), err
}

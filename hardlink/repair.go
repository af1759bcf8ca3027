package hardlink

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/rpmfile"
	"kojisnap/volumes"
)

// Damaged is a file that was put there, is not what it was, and is made again.
type Damaged struct {
	Path string `json:"path"` // below topdir
	Why  string `json:"why"`
}

// unrepaired names a damaged file that stays for want of Options.Repair, with the cure.
func unrepaired(rel string, damage *content.DigestError) *HeldError {
	h := held("file", "", rel, damage, "it stays as it is; kojisnap copy --repair makes it again")
	h.Reason = damage.Says()
	return h
}

// repairs tells whether a file below topdir is made again where it is damaged.
func (d *differ) repairs(rel string) bool { return d.opts.Repair || d.suspect[rel] }

// reread compares the content of a file below topdir with what is planned.
func (e *Engine) reread(ctx context.Context, rel string, f volumes.File) error {
	file, err := e.top.Open(rel)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = content.Copy(discard{}, e.sources.Limit(ctx, file), f, file.Name())
	return err
}

// isOtherRPM tells whether a file below topdir is an rpm whose content is what its own signature
// header says, and another than what is planned, however that is signed.
func (e *Engine) isOtherRPM(ctx context.Context, rel string, f *volumes.File) (bool, error) {
	file, err := e.top.Open(rel)
	if err != nil {
		return false, err
	}
	defer file.Close()
	from := e.sources.Limit(ctx, file)
	_, sig, err := rpmfile.ReadHead(from)
	if errors.Is(err, rpmfile.ErrNotRPM) && !content.OfReading(err) {
		return false, nil
	}
	if err != nil || sig.SigMD5 == "" || f.Digest == "sigmd5:"+sig.SigMD5 {
		return false, err
	}
	h := md5.New()
	if _, err := io.Copy(h, from); err != nil {
		return false, err
	}
	return hex.EncodeToString(h.Sum(nil)) == sig.SigMD5, nil
}

// discard is io.Discard without its ReadFrom.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

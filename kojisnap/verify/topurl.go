package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"kojisnap/hardlink/content"
	"kojisnap/hardlink/source"
	"kojisnap/kojisnap/oneline"
	"kojisnap/kojisnap/secret"
)

// samples is about how many files are fetched from topurl. At least one of each volume is.
const samples = 10

// fetchTimeout is how long a server may take for the headers of one rpm.
const fetchTimeout = time.Minute

// parseTopURL refuses an unusable URL, before anything is asked.
func (v *verifier) parseTopURL() error {
	if v.TopURL == "" {
		return nil
	}
	base, err := url.Parse(v.TopURL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		return fmt.Errorf("topurl %q: want http://HOST/PATH or https://HOST/PATH", secret.HideURL(v.TopURL))
	}
	v.topurl = base
	return nil
}

// topURLChecks fetch files from the URL that serves topdir.
type topURLChecks struct{ *fileChecks }

// checkTopURL fetches the headers of some rpms, and compares them with what the database says.
func (v topURLChecks) checkTopURL(ctx context.Context) error {
	base := v.topurl
	if base == nil {
		return nil
	}
	c := Check{Name: "topurl", Detail: "rpms fetched from " + secret.Hide(base.String())}
	for _, r := range v.sample() {
		c.Count++
		if err := v.fetch(ctx, base, r); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c.bad("%s: %v", r.nvra(), oneline.Of(err))
			var digest *content.DigestError
			if errors.As(err, &digest) {
				c.Digests++
			}
		}
	}
	v.add(c, StatusFailed)
	return nil
}

// sample chooses rpms: of each volume the first by name, then evenly among the rest.
func (v topURLChecks) sample() []*taggedRPM {
	byName := map[string]*taggedRPM{}
	for _, l := range v.listings {
		for i := range l.rpms {
			r := &l.rpms[i]
			// Without topdir nothing is known about the files.
			if s := v.states[r.id]; !r.metadataOnly && v.takes(r.arch) && (v.Topdir == "" || s != nil && s.err == nil) {
				byName[r.nvra()] = r
			}
		}
	}
	var names []string
	for name := range byName {
		names = append(names, name)
	}
	slices.Sort(names)
	var chosen []*taggedRPM
	volumes, step := map[string]bool{}, max(1, len(names)/samples)
	for i, name := range names {
		r := byName[name]
		if !volumes[r.build.volume] || i%step == 0 {
			volumes[r.build.volume] = true
			chosen = append(chosen, r)
		}
	}
	return chosen
}

// fetch reads the headers of the copy that a compose takes of an rpm.
func (v topURLChecks) fetch(ctx context.Context, base *url.URL, r *taggedRPM) error {
	copies, err := v.copies(r)
	if err != nil {
		return err
	}
	for _, c := range copies {
		path := c.dir + "/" + c.file.Path
		if s := v.states[r.id]; c.wanted && (s == nil || s.rel == path) {
			return v.fetchHead(ctx, source.Below(base, path).String(), c)
		}
	}
	return v.errUnsigned()
}

func (v topURLChecks) fetchHead(ctx context.Context, u string, c candidate) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // before the body's end: that closes the connection
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: HTTP %s", u, resp.Status)
	}
	return content.Check(resp.Body, resp.ContentLength, c.file, u, false)
}

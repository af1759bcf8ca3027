package source

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"kojisnap/kojisnap/secret"
	"kojisnap/volumes"
)

const (
	maxIndex  = 16 << 20 // bytes of one page
	maxListed = 200000   // entries of one build
	maxDepth  = 40
)

// List implements Lister by the pages with which servers list directories, as Apache's mod_autoindex makes them. A page's
// links count that lead to something directly below it. Sizes and times are those of HEAD requests: pages round them.
func (w *webSource) List(ctx context.Context, b volumes.Build, known func(path string) bool) ([]Listed, error) {
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	l := webLister{webSource: w, dir: dir, known: known}
	err = l.list(ctx, ".", 0)
	return l.listed, err
}

type webLister struct {
	*webSource
	dir    string
	known  func(string) bool
	listed []Listed
}

// list lists a directory of the build and what is below it.
func (l *webLister) list(ctx context.Context, rel string, depth int) error {
	names, err := l.index(ctx, rel)
	switch {
	case rel == "." && (Absent(err) || Denied(err)):
		return ErrNoListing // some servers say so of each directory
	case err != nil && (Denied(err) || Absent(err) || errors.Is(err, ErrNoListing)) && rel != ".":
		l.listed = append(l.listed, Listed{Path: rel, Size: -1, Err: err})
		return nil
	case err != nil:
		return err
	}
	for _, name := range names {
		p := path.Join(rel, strings.TrimSuffix(name, "/"))
		switch {
		case len(l.listed) >= maxListed || depth >= maxDepth:
			return fmt.Errorf("list %s: it has more than a build can have", l.name)
		case strings.HasSuffix(name, "/"):
			if err := l.list(ctx, p, depth+1); err != nil {
				return err
			}
		case l.known(p):
			l.listed = append(l.listed, Listed{Path: p, Size: -1})
		default:
			one, err := l.head(ctx, p)
			if Absent(err) {
				continue // removed meanwhile, or a link that the page has beside its list
			}
			if err != nil && !Denied(err) {
				return err
			}
			one.Err = err
			l.listed = append(l.listed, one)
		}
	}
	return nil
}

// request sends a request with a method and a URL, again where that may help.
func (l *webLister) request(ctx context.Context, method string, u *url.URL) (*download, *http.Response, error) {
	if l.turn != nil {
		if err := l.turn(ctx); err != nil {
			return nil, nil, err
		}
	}
	d := &download{ctx: ctx, from: l.webSource, method: method, url: u, name: secret.Hide(u.String()), size: -1}
	resp, err := d.request()
	return d, resp, err
}

// head finds out the size and the time of a file.
func (l *webLister) head(ctx context.Context, rel string) (Listed, error) {
	one := Listed{Path: rel, Size: -1}
	d, resp, err := l.request(ctx, http.MethodHead, Below(l.base, l.dir+"/"+rel))
	if err != nil {
		return one, err
	}
	defer d.Close()
	one.Size = resp.ContentLength
	if at, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		one.Mtime = at
	}
	return one, nil
}

var hrefRE = regexp.MustCompile(`(?i)<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))`)

// index returns the names in a directory, those of directories with a slash. A page that is no list, perhaps a login, is ErrNoListing.
func (l *webLister) index(ctx context.Context, rel string) ([]string, error) {
	at := l.dir + "/"
	if rel != "." {
		at += rel + "/"
	}
	u := Below(l.base, at)
	d, resp, err := l.request(ctx, http.MethodGet, u)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "text/html" && kind != "application/xhtml+xml" {
		return nil, ErrNoListing
	}
	d.size, d.validator = resp.ContentLength, validator(resp)
	page, err := io.ReadAll(io.LimitReader(d, maxIndex))
	if err != nil {
		return nil, err
	}
	base := u
	if resp.Request != nil && resp.Request.URL != nil {
		base = resp.Request.URL // after redirects
	}
	return namesIn(base, page), nil
}

// namesIn returns the names that a page links directly below its own URL, each once.
func namesIn(base *url.URL, page []byte) (names []string) {
	seen := map[string]bool{}
	for _, m := range hrefRE.FindAllSubmatch(page, -1) {
		link, err := url.Parse(html.UnescapeString(string(m[1]) + string(m[2]) + string(m[3])))
		if err != nil {
			continue
		}
		to := base.ResolveReference(link)
		name, below := strings.CutPrefix(to.EscapedPath(), base.EscapedPath())
		if !below || to.Host != base.Host || to.RawQuery != "" || to.Scheme != base.Scheme {
			continue
		}
		if name, err = url.PathUnescape(name); err != nil {
			continue
		}
		bare := strings.TrimSuffix(name, "/")
		if bare == "" || bare == "." || bare == ".." || strings.Contains(bare, "/") || seen[bare] {
			continue
		}
		seen[bare] = true
		names = append(names, name)
	}
	return names
}

// ObjectLister are Objects that can be listed.
type ObjectLister interface {
	// Objects calls each for each object whose path below topdir begins with prefix, in order of the paths.
	Objects(ctx context.Context, prefix string, each func(key string, size int64) error) error
}

// List implements Lister. The time of an object is not told: rclone and s3fs store production's with the object, and only a request
// for the object tells that.
func (o *objectSource) List(ctx context.Context, b volumes.Build, known func(path string) bool) (listed []Listed, err error) {
	lister, ok := o.Objects.(ObjectLister)
	if !ok {
		return nil, ErrNoListing
	}
	if err := o.lost(); err != nil {
		return nil, err
	}
	dir, err := b.Dir()
	if err != nil {
		return nil, err
	}
	request, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(webSilence, func() { cancel(errWebSilent) })
	defer watch.Stop()
	err = lister.Objects(request, dir+"/", func(key string, size int64) error {
		watch.Reset(webSilence)
		p, ok := strings.CutPrefix(key, dir+"/")
		if !ok || p == "" || strings.HasSuffix(p, "/") { // some tools make objects for directories
			return nil
		}
		listed = append(listed, Listed{Path: p, Size: size})
		return nil
	})
	err = o.judge(request, err)
	o.noteError(ctx, err, dir+"/")
	if err == nil && len(listed) == 0 {
		err = fs.ErrNotExist
	}
	return listed, err
}

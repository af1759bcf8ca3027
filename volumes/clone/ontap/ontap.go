// Package ontap makes clones of production's tree as FlexClone volumes of NetApp ONTAP, by its REST API (ONTAP 9.6 and
// later, with a FlexClone licence): a snapshot of the volume, then a clone of that, mounted in the namespace of its SVM.
// It follows NetApp's documentation. It was tested against a server of our own that answers as the documentation says;
// no filer has been tried.
package ontap

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"kojisnap/volumes/clone"
)

// Name is the provider's name in the configuration.
const Name = "ontap"

// Options of a Provider.
type Options struct {
	Env      string
	URL      string // of the cluster's management interface, https://HOST
	User     string
	Password string
	CAFile   string // certificates that the cluster's is checked with; empty: the system's
	SVM      string
	Volume   string // production's
	// Junction is the directory in the SVM's namespace in which clones are mounted, such as /kojisnap.
	Junction string
	// Dir is where this host has that directory: the clone with id ID is at Dir/NAME.
	Dir string
	// Below is the path of production's tree in its volume; empty: the volume is the tree.
	Below string
	// Timeout limits each operation, with its job. 0: 5 minutes.
	Timeout time.Duration
	Poll    time.Duration // between looks at a job; 0: 1 s
}

// Provider makes FlexClone volumes.
type Provider struct {
	Options
	api *api
}

// New returns a provider. It asks nothing yet.
func New(o Options) (*Provider, error) {
	for _, f := range []struct{ key, value string }{
		{"ontap-url", o.URL}, {"ontap-user", o.User}, {"ontap-svm", o.SVM}, {"ontap-volume", o.Volume}, {"ontap-junction", o.Junction}, {"dir", o.Dir},
	} {
		if f.value == "" {
			return nil, fmt.Errorf("clones by ontap: no %s is given (--%s, or %s in [clone])", f.key, f.key, f.key)
		}
	}
	if o.Password == "" {
		return nil, errors.New("clones by ontap: no password: give --ontap-password-file, or set KOJISNAP_ONTAP_PASSWORD")
	}
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" {
		return nil, errors.New("clones by ontap: ontap-url: want https://HOST, without a user or a path")
	}
	if !path.IsAbs(o.Junction) || path.Clean(o.Junction) != o.Junction || !filepath.IsAbs(o.Dir) || o.Below != "" && !filepath.IsLocal(o.Below) {
		return nil, fmt.Errorf("clones by ontap: ontap-junction %q and dir %q are absolute paths, ontap-below %q is one within the volume", o.Junction, o.Dir, o.Below)
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Minute
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	a, err := newAPI(o)
	if err != nil {
		return nil, err
	}
	return &Provider{o, a}, nil
}

// Names of volumes have letters, digits and underscores, at most 203; those of snapshots likewise here.
var notInNames = regexp.MustCompile(`[^a-z0-9_]`)

func name(id string) string { return "kojisnap_" + notInNames.ReplaceAllString(id, "_") }

// comment tells that a volume or a snapshot is a clone's: names alone could be another's.
func comment(id string) string { return "kojisnap clone " + id }

// Check asks for the parent volume.
func (p *Provider) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	_, err := p.parent(ctx)
	return err
}

func (p *Provider) parent(ctx context.Context) (*volume, error) {
	v, err := p.api.volume(ctx, p.SVM, p.Volume)
	if err == nil && v == nil {
		err = fmt.Errorf("ontap %s: SVM %s has no volume %s: correct ontap-svm and ontap-volume", p.api.host, p.SVM, p.Volume)
	}
	return v, err
}

// Create implements clone.Provider.
func (p *Provider) Create(ctx context.Context, id clone.ID) (clone.Clone, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	c := clone.Clone{ID: id.String(), Details: map[string]string{"volume": name(id.String()), "svm": p.SVM, "parent": p.Volume}}
	parent, err := p.parent(ctx)
	if err != nil {
		return c, err
	}
	have, err := p.clone(ctx, c.ID)
	if err != nil {
		return c, err
	}
	if have == nil {
		if err := p.api.ensureSnapshot(ctx, parent.UUID, name(c.ID), comment(c.ID)); err != nil {
			return c, err
		}
		if err := p.api.cloneVolume(ctx, p.Options, c.ID); err != nil {
			return c, err
		}
		if have, err = p.clone(ctx, c.ID); err != nil {
			return c, err
		}
	}
	if have == nil {
		return c, fmt.Errorf("ontap %s: the job that clones volume %s ended well, and there is no volume %s", p.api.host, p.Volume, name(c.ID))
	}
	c.Details["uuid"] = have.UUID
	return c, nil
}

// clone returns the volume of a clone, nil if there is none. A volume of that name that is another's is an error.
func (p *Provider) clone(ctx context.Context, id string) (*volume, error) {
	v, err := p.api.volume(ctx, p.SVM, name(id))
	if err == nil && v != nil && v.Comment != comment(id) {
		return nil, fmt.Errorf("ontap %s: volume %s has not the comment %q: it is not kojisnap's, and stays", p.api.host, v.Name, comment(id))
	}
	return v, err
}

// Mount implements clone.Provider: the clone was mounted in the SVM's namespace when it was made.
func (p *Provider) Mount(ctx context.Context, c clone.Clone) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	v, err := p.clone(ctx, c.ID)
	if err != nil {
		return "", err
	}
	if v == nil {
		return "", fmt.Errorf("ontap %s: there is no volume %s", p.api.host, name(c.ID))
	}
	if want := path.Join(p.Junction, v.Name); v.NAS.Path != want {
		if err := p.api.junction(ctx, v.UUID, want); err != nil {
			return "", err
		}
	}
	return filepath.Join(p.Dir, v.Name, p.Below), nil
}

// List implements clone.Provider.
func (p *Provider) List(ctx context.Context) ([]clone.Clone, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	volumes, err := p.api.volumes(ctx, url.Values{"svm.name": {p.SVM}, "name": {"kojisnap_*"}})
	if err != nil {
		return nil, err
	}
	list := []clone.Clone{}
	for _, v := range volumes {
		text, ours := strings.CutPrefix(v.Comment, comment(""))
		if id, err := clone.ParseID(text); ours && err == nil && id.Env == p.Env && name(text) == v.Name {
			list = append(list, clone.Clone{ID: text, Details: map[string]string{"volume": v.Name, "svm": p.SVM, "uuid": v.UUID}})
		}
	}
	slices.SortFunc(list, func(a, b clone.Clone) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Discard implements clone.Provider. The filer does not tell kojisnap of files that NFS clients have open, but for
// those that hold locks; composes keep their clone by Keep.
func (p *Provider) Discard(ctx context.Context, c clone.Clone) error {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if id, err := clone.ParseID(c.ID); err != nil {
		return err
	} else if id.Env != p.Env {
		return fmt.Errorf("clone %s is of environment %s", c.ID, id.Env)
	}
	v, err := p.clone(ctx, c.ID)
	if err != nil {
		return err
	}
	if v != nil {
		if v.NAS.Path != "" {
			if err := p.api.junction(ctx, v.UUID, ""); err != nil {
				return err
			}
		}
		if err := p.api.removeVolume(ctx, v.UUID); err != nil {
			return err
		}
	}
	parent, err := p.parent(ctx)
	if err != nil {
		return err
	}
	return p.api.removeSnapshot(ctx, parent.UUID, name(c.ID), comment(c.ID))
}

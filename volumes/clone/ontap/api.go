package ontap

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"time"

	"kojisnap/volumes/clone"
)

const mostAnswer = 4 << 20

// api is the REST interface of one cluster.
type api struct {
	Options
	host   string
	client *http.Client
}

func newAPI(o Options) (*api, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, errors.New("clones by ontap: ontap-url is no URL")
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		text, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("clones by ontap: ontap-ca-file: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("clones by ontap: ontap-ca-file %s has no certificate", o.CAFile)
		}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	return &api{o, u.Host, &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("a redirect is not followed: it would get the password")
	}}}, nil
}

// Error is an error that ONTAP answered with.
type Error struct {
	Host, What string
	Status     int    // of HTTP; 202: a job failed
	Code       string `json:"code"`
	Message    string `json:"message"`
}

func (e *Error) Error() string {
	text := fmt.Sprintf("ontap %s: %s: %.300q (HTTP %d, code %s)", e.Host, e.What, e.Message, e.Status, e.Code)
	switch {
	case e.Status == http.StatusUnauthorized:
		text += ": is the password right?"
	case e.Status == http.StatusForbidden:
		text += ": the role of the user must permit volumes, snapshots and jobs"
	}
	return text
}

// codeGone is "entry doesn't exist".
const codeGone = "4"

// volume is what is read of a volume.
type volume struct {
	UUID    string `json:"uuid"`
	Name    string `json:"name"`
	Comment string `json:"comment"`
	NAS     struct {
		Path string `json:"path"`
	} `json:"nas"`
}

type snapshotRecord struct {
	UUID    string `json:"uuid"`
	Name    string `json:"name"`
	Comment string `json:"comment"`
}

// call sends a request and reads the answer into out. what is what an error names.
func (a *api) call(ctx context.Context, what, method, where string, query url.Values, body, out any) error {
	u := url.URL{Scheme: "https", Host: a.host, Path: path.Join("/api", where), RawQuery: query.Encode()}
	var r io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		r = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return err
	}
	req.SetBasicAuth(a.User, a.Password)
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("ontap %s: %s: %w", a.host, what, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	if err == nil && len(text) > mostAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", mostAnswer)
	}
	if err != nil {
		return fmt.Errorf("ontap %s: %s: %w", a.host, what, err)
	}
	if resp.StatusCode/100 != 2 {
		e := struct{ Error *Error }{&Error{}}
		_ = json.Unmarshal(text, &e) // the status says enough
		if e.Error == nil {
			e.Error = &Error{}
		}
		e.Error.Host, e.Error.What, e.Error.Status = a.host, what, resp.StatusCode
		if e.Error.Message == "" {
			e.Error.Message = http.StatusText(resp.StatusCode)
		}
		return e.Error
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("ontap %s: %s: the answer is not as documented: %w", a.host, what, err)
	}
	return nil
}

// do sends a request that is a job, and waits for the job's end.
func (a *api) do(ctx context.Context, what, method, where string, body any) error {
	var accepted struct {
		Job struct {
			UUID string `json:"uuid"`
		} `json:"job"`
	}
	if err := a.call(ctx, what, method, where, url.Values{"return_timeout": {"0"}}, body, &accepted); err != nil || accepted.Job.UUID == "" {
		return err // without a job it is done
	}
	unended := func() error {
		return fmt.Errorf("ontap %s: %s: the job has not ended: %w; it goes on, and the next run finds what it made", a.host, what, ctx.Err())
	}
	for {
		var job struct {
			State   string `json:"state"`
			Message string `json:"message"`
			Code    int64  `json:"code"`
			Error   *Error `json:"error"`
		}
		if err := a.call(ctx, what+": job", http.MethodGet, "cluster/jobs/"+url.PathEscape(accepted.Job.UUID), url.Values{"fields": {"state,message,code,error"}}, nil, &job); ctx.Err() != nil {
			return unended()
		} else if err != nil {
			return err
		}
		switch job.State {
		case "success":
			return nil
		case "queued", "running", "pausing", "paused":
		case "failure", "error":
			e := job.Error
			if e == nil || e.Code == "" {
				e = &Error{Code: fmt.Sprint(job.Code), Message: job.Message}
			}
			e.Host, e.What, e.Status = a.host, what, http.StatusAccepted
			return e
		default:
			return fmt.Errorf("ontap %s: %s: the job is in state %.60q, which the documentation does not have", a.host, what, job.State)
		}
		select {
		case <-ctx.Done():
			return unended()
		case <-time.After(a.Poll):
		}
	}
}

// volumes returns the volumes that a query matches.
func (a *api) volumes(ctx context.Context, query url.Values) ([]volume, error) {
	query.Set("fields", "uuid,name,comment,nas.path")
	query.Set("max_records", "1000")
	var found struct {
		Records []volume `json:"records"`
	}
	return found.Records, a.call(ctx, "list of volumes", http.MethodGet, "storage/volumes", query, nil, &found)
}

// volume returns a volume by name, nil if there is none.
func (a *api) volume(ctx context.Context, svm, name string) (*volume, error) {
	found, err := a.volumes(ctx, url.Values{"svm.name": {svm}, "name": {name}})
	if err != nil {
		return nil, err
	}
	for _, v := range found { // a name in a query may be a pattern
		if v.Name == name && v.UUID != "" {
			return &v, nil
		}
	}
	return nil, nil
}

func (a *api) snapshot(ctx context.Context, parent, name string) (*snapshotRecord, error) {
	var found struct {
		Records []snapshotRecord `json:"records"`
	}
	err := a.call(ctx, "list of snapshots", http.MethodGet, "storage/volumes/"+url.PathEscape(parent)+"/snapshots", url.Values{"name": {name}, "fields": {"uuid,name,comment"}}, nil, &found)
	for _, s := range found.Records {
		if s.Name == name {
			return &s, err
		}
	}
	return nil, err
}

// ensureSnapshot makes a snapshot of a volume, unless a killed run did.
func (a *api) ensureSnapshot(ctx context.Context, parent, name, comment string) error {
	s, err := a.snapshot(ctx, parent, name)
	if err != nil {
		return err
	}
	if s != nil {
		if s.Comment != comment {
			return fmt.Errorf("ontap %s: snapshot %s has not the comment %q: it is not kojisnap's", a.host, name, comment)
		}
		return nil
	}
	return a.do(ctx, "snapshot "+name, http.MethodPost, "storage/volumes/"+url.PathEscape(parent)+"/snapshots", map[string]any{"name": name, "comment": comment})
}

// cloneVolume makes the FlexClone volume of a snapshot.
func (a *api) cloneVolume(ctx context.Context, o Options, id string) error {
	named := func(name string) map[string]any { return map[string]any{"name": name} }
	return a.do(ctx, "clone "+name(id)+" of volume "+o.Volume, http.MethodPost, "storage/volumes", map[string]any{
		"name": name(id), "svm": named(o.SVM), "comment": comment(id), "nas": map[string]any{"path": path.Join(o.Junction, name(id))},
		"clone": map[string]any{"is_flexclone": true, "parent_volume": named(o.Volume), "parent_snapshot": named(name(id))},
	})
}

// junction mounts a volume in the namespace or, with an empty path, unmounts it.
func (a *api) junction(ctx context.Context, uuid, where string) error {
	return a.do(ctx, "junction path of volume "+uuid, http.MethodPatch, "storage/volumes/"+url.PathEscape(uuid), map[string]any{"nas": map[string]any{"path": where}})
}

func (a *api) removeVolume(ctx context.Context, uuid string) error {
	return unlessGone(a.do(ctx, "removal of volume "+uuid, http.MethodDelete, "storage/volumes/"+url.PathEscape(uuid), nil))
}

// removeSnapshot removes a clone's snapshot. A deleted clone stays for hours in ONTAP's recovery queue, and its snapshot
// is busy so long. So a job that fails is clone.ErrBusy, and tried again later.
func (a *api) removeSnapshot(ctx context.Context, parent, name, comment string) error {
	s, err := a.snapshot(ctx, parent, name)
	if err != nil || s == nil {
		return err
	}
	if s.Comment != comment {
		return fmt.Errorf("ontap %s: snapshot %s has not the comment %q: it is not kojisnap's, and stays", a.host, name, comment)
	}
	err = unlessGone(a.do(ctx, "removal of snapshot "+name, http.MethodDelete, "storage/volumes/"+url.PathEscape(parent)+"/snapshots/"+url.PathEscape(s.UUID), nil))
	if e := (*Error)(nil); errors.As(err, &e) && e.Status == http.StatusAccepted {
		return fmt.Errorf("%w: %w; the volume is gone, and ONTAP's recovery queue may still need the snapshot", clone.ErrBusy, err)
	}
	return err
}

func unlessGone(err error) error {
	if e := (*Error)(nil); errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Code == codeGone) {
		return nil
	}
	return err
}

// Package scriptstest decodes what scripts/kubernetes has with Kubernetes' own types. It is a module of its own,
// because the program does not need those; kojisnap/integration/ops runs it.
package scriptstest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

const dir = "../kubernetes"

// objects are all objects of scripts/kubernetes, by kind and name, such as CronJob/kojisnap-sync.
type objects map[string]runtime.Object

// decoder takes only what Kubernetes has in these kinds: unknown or doubled fields, and wrong types, are errors.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// load decodes all files.
func load(t *testing.T) objects {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.yml")
	if err != nil || len(files) < 4 {
		t.Fatalf("files %q, %v", files, err)
	}
	strict, all := decoder(t), objects{}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for r := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(body))); ; {
			document := make([]byte, len(body))
			n, err := r.Read(document)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			o, kind, err := strict.Decode(document[:n], nil, nil)
			if err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			name := o.(interface{ GetName() string }).GetName()
			if all[kind.Kind+"/"+name] != nil {
				t.Errorf("%s: %s %s is there twice", file, kind.Kind, name)
			}
			all[kind.Kind+"/"+name] = o
		}
	}
	return all
}

// cronJobs are the CronJobs by name.
func (all objects) cronJobs() map[string]*batchv1.CronJob {
	jobs := map[string]*batchv1.CronJob{}
	for name, o := range all {
		if job, ok := o.(*batchv1.CronJob); ok {
			jobs[name] = job
		}
	}
	return jobs
}

// pods are the pods of all objects that make some, by the objects' names.
func (all objects) pods() map[string]corev1.PodSpec {
	pods := map[string]corev1.PodSpec{}
	for name, o := range all {
		switch o := o.(type) {
		case *batchv1.CronJob:
			pods[name] = o.Spec.JobTemplate.Spec.Template.Spec
		case *batchv1.Job:
			pods[name] = o.Spec.Template.Spec
		case *appsv1.Deployment:
			pods[name] = o.Spec.Template.Spec
		}
	}
	return pods
}

// TestWorkers: the Deployment selects its own pods and no job's, and lets a worker end in order.
func TestWorkers(t *testing.T) {
	all := load(t)
	d, ok := all["Deployment/kojisnap-worker"].(*appsv1.Deployment)
	if !ok || all["Job/kojisnap-plan"] == nil {
		t.Fatalf("objects %v", all)
	}
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, the pods have %q", key, value, d.Spec.Template.Labels[key])
		}
	}
	if d.Spec.Selector.MatchLabels["app.kubernetes.io/component"] != "worker" {
		t.Errorf("the selector %v takes the pods of jobs, too", d.Spec.Selector.MatchLabels)
	}
	pod := d.Spec.Template.Spec
	if grace := pod.TerminationGracePeriodSeconds; grace == nil || *grace < 40 {
		t.Errorf("%v seconds to end are too few for --grace and what follows", grace)
	}
	if pod.RestartPolicy != "" && pod.RestartPolicy != corev1.RestartPolicyAlways {
		t.Errorf("a Deployment cannot restart %s", pod.RestartPolicy)
	}
	// Both need the same configuration.
	plan := all["Job/kojisnap-plan"].(*batchv1.Job).Spec.Template.Spec
	if plan.Containers[0].Image != pod.Containers[0].Image || len(plan.Volumes) != len(pod.Volumes) || plan.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("the plan's pod differs: %+v", plan)
	}
}

// TestStrict: Kubernetes knows all kinds and fields in the files. The decoder refuses what it does not know.
func TestStrict(t *testing.T) {
	if all := load(t); len(all.cronJobs()) != 4 || len(all.pods()) != 7 || all["ConfigMap/kojisnap"] == nil || all["Secret/kojisnap"] == nil {
		t.Errorf("%d CronJobs, %d pods", len(all.cronJobs()), len(all.pods()))
	}
	job, err := os.ReadFile(dir + "/cronjobs.yml")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(string(job), "---\n"), "\n---\n")
	for _, wrong := range [][2]string{
		{"concurrencyPolicy: Forbid", "concurrencyPolicies: Forbid"},
		{"backoffLimit: 2", "backoffLimit: two"},
		{"timeZone: Etc/UTC", "timeZone: Etc/UTC\n  timeZone: Etc/UTC"},
	} {
		text := strings.Replace(first, wrong[0], wrong[1], 1)
		if text == first {
			t.Fatalf("no %q in\n%s", wrong[0], first)
		}
		if _, _, err := decoder(t).Decode([]byte(text), nil, nil); err == nil {
			t.Errorf("%q is taken", wrong[1])
		}
	}
}

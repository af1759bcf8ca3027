// Package fleettest gives tests of workers hosts of their own: network namespaces, each with one link to this machine
// that tbf limits and iptables can cut. Only Linux's root can make them.
package fleettest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// Network is the hosts of one test.
type Network struct {
	t      testing.TB
	net    int // second number of its addresses
	number int
}

var networks atomic.Int32

// New returns a network without hosts. Where a program is missing, the test is skipped, or fails if KOJISNAP_TEST_ALL is
// set; where the machine gives no namespaces, limits or filters, it is skipped. All hosts are gone when the test ends.
func New(t testing.TB) *Network {
	t.Helper()
	for _, program := range []string{"ip", "tc", "iptables"} {
		switch _, err := exec.LookPath(program); {
		case err == nil:
		case os.Getenv("KOJISNAP_TEST_ALL") != "":
			t.Fatalf("needs: %v: packages iproute2 and iptables", err)
		default:
			t.Skipf("needs: %v: packages iproute2 and iptables", err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces")
	}
	// Processes of other test packages have other numbers, mostly; one that is taken shows at once.
	n := &Network{t: t, net: 128 + (os.Getpid()*7+int(networks.Add(1)))%100}
	if err := n.probe(); err != nil {
		t.Skipf("needs network namespaces: %v", err)
	}
	return n
}

// probe tries what hosts need.
func (n *Network) probe() (err error) {
	name := fmt.Sprintf("kjs%d-0", n.net)
	defer func() { _ = exec.Command("ip", "netns", "delete", name).Run() }()
	for _, words := range [][]string{
		{"ip", "netns", "add", name},
		{"ip", "link", "add", name + "h", "type", "veth", "peer", "name", "eth0", "netns", name},
		{"tc", "qdisc", "add", "dev", name + "h", "root", "tbf", "rate", "20mbit", "burst", "32kb", "latency", "100ms"},
		{"ip", "netns", "exec", name, "iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", "1", "-j", "DROP"},
	} {
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", words, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// Clients are the addresses of all hosts, as a prefix.
func (n *Network) Clients() string { return fmt.Sprintf("10.%d.0.0/16", n.net) }

// Host is a namespace.
type Host struct {
	t    testing.TB
	Name string
	Here string // the address of this machine that the host reaches
}

// Host makes one more host. rate, such as 20mbit, is what its link carries in each direction; "": all that it can.
func (n *Network) Host(rate string) *Host {
	n.t.Helper()
	n.number++
	name := fmt.Sprintf("kjs%d-%d", n.net, n.number)
	h := &Host{t: n.t, Name: name, Here: fmt.Sprintf("10.%d.%d.1", n.net, n.number)}
	here := name + "h"
	n.run("ip", "netns", "add", name)
	n.t.Cleanup(func() {
		// The link goes with the namespace, and its other end with it.
		if err := exec.Command("ip", "netns", "delete", name).Run(); err != nil {
			n.t.Errorf("ip netns delete %s: %v", name, err)
		}
	})
	n.run("ip", "link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
	n.run("ip", "address", "add", h.Here+"/24", "dev", here)
	n.run("ip", "link", "set", here, "up")
	h.run("ip", "address", "add", fmt.Sprintf("10.%d.%d.2/24", n.net, n.number), "dev", "eth0")
	h.run("ip", "link", "set", "eth0", "up")
	h.run("ip", "link", "set", "lo", "up")
	if rate != "" {
		limit := []string{"root", "tbf", "rate", rate, "burst", "32kb", "latency", "100ms"}
		n.run("tc", append([]string{"qdisc", "add", "dev", here}, limit...)...)
		h.run("tc", append([]string{"qdisc", "add", "dev", "eth0"}, limit...)...)
	}
	return h
}

// Exec are the words before a command that runs on the host.
func (h *Host) Exec() []string { return []string{"ip", "netns", "exec", h.Name} }

// Knows makes a name lead to this machine, for the host's programs: /etc/hosts is another one for what ip netns exec
// starts there.
func (h *Host) Knows(name string) {
	h.t.Helper()
	dir := filepath.Join("/etc/netns", h.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		os.RemoveAll(dir)
		_ = os.Remove("/etc/netns") // if it is empty
	})
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1 localhost\n"+h.Here+" "+name+"\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// Received is how many bytes the host's link has brought it, with all headers.
func (h *Host) Received() int64 {
	h.t.Helper()
	text, err := os.ReadFile("/sys/class/net/" + h.Name + "h/statistics/tx_bytes") // sent by this machine's end
	if err != nil {
		h.t.Fatal(err)
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

// Cut loses all packets between the host and a TCP port of this machine from now on, in both directions, as a broken
// switch does: nobody is told.
func (h *Host) Cut(port int) {
	h.t.Helper()
	h.run("iptables", "-A", "OUTPUT", "-p", "tcp", "--dport", strconv.Itoa(port), "-j", "DROP")
	h.run("iptables", "-A", "INPUT", "-p", "tcp", "--sport", strconv.Itoa(port), "-j", "DROP")
}

// Mend ends what Cut began.
func (h *Host) Mend() {
	h.t.Helper()
	h.run("iptables", "-F")
}

func (n *Network) run(program string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %v: %v: %s", program, args, err, bytes.TrimSpace(out))
	}
}

func (h *Host) run(program string, args ...string) {
	h.t.Helper()
	words := append(h.Exec(), append([]string{program}, args...)...)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %v: %s", words, err, bytes.TrimSpace(out))
	}
}

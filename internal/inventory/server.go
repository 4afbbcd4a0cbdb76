package inventory

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// ActiveFor is how long after its agent's last heartbeat a server counts as
// active. ASA: 96 hours.
const ActiveFor = 96 * time.Hour

// Server is one record of the inventory.
type Server struct {
	// ID is a UUID that stays for as long as the record does.
	ID          string
	ProjectID   string
	ProjectName string
	// CloudAccountID, AccountID, Region and InstanceID are empty for a record
	// that no cloud account holds. AccountID is the 12 digits.
	CloudAccountID string
	AccountID      string
	Region         string
	InstanceID     string
	// Orphaned: the cloud account was disconnected from the project.
	Orphaned bool

	// Hostname, CanonicalName and AccessAddress follow from EC2, Agent and
	// Manual; see derive.
	Hostname      string
	CanonicalName string
	AccessAddress string
	Bastion       string
	// Managed: an agent is enrolled.
	Managed      bool
	RegisteredAt time.Time
	DeletedAt    time.Time
	// LastSeen is the agent's last heartbeat.
	LastSeen time.Time

	// EC2State is the last known state of the instance.
	EC2State string
	// ToldAt is when the instance was first heard of, ConfirmedAt the start of
	// the last read that found it.
	ToldAt      time.Time
	ConfirmedAt time.Time
	// AbsentSince is when a complete listing first lacked the instance, and
	// NotFound how many reads in a row have not found it.
	AbsentSince time.Time
	NotFound    int

	Facts     Facts
	APILabels map[string]string
}

// Facts are what a server's sources say about it.
type Facts struct {
	EC2    *Instance    `json:"ec2,omitempty"`
	Agent  *AgentFacts  `json:"agent,omitempty"`
	Manual *ManualFacts `json:"manual,omitempty"`
	// DiscoveredBy is event, sync or agent; empty for a record made by hand.
	DiscoveredBy string `json:"discovered_by,omitempty"`
	// AddressTakenBy is the id of the newer server that has this one's address.
	AddressTakenBy string `json:"address_taken_by,omitempty"`
}

// AgentFacts are what the machine's own agent says.
type AgentFacts struct {
	Hostname      string            `json:"hostname,omitempty"`
	CanonicalName string            `json:"canonical_name,omitempty"`
	AltNames      []string          `json:"alt_names,omitempty"`
	AccessAddress string            `json:"access_address,omitempty"`
	Bastion       string            `json:"bastion,omitempty"`
	OS            string            `json:"os,omitempty"`
	OSType        string            `json:"os_type,omitempty"`
	Version       string            `json:"version,omitempty"`
	Services      []string          `json:"services,omitempty"`
	SSHHostKeys   []string          `json:"ssh_host_keys,omitempty"`
	Labels        map[string]string `json:"labels,omitempty"`
}

// ManualFacts are what the maker of an unmanaged record says.
type ManualFacts struct {
	Hostname      string   `json:"hostname"`
	AccessAddress string   `json:"access_address,omitempty"`
	AltNames      []string `json:"alt_names,omitempty"`
	Bastion       string   `json:"bastion,omitempty"`
}

// unconfirmed: no read has found the instance yet.
func (s *Server) unconfirmed() bool { return s.InstanceID != "" && s.ConfirmedAt.IsZero() }

// Active applies the rule of the two states: a managed server is active while its
// agent was heard of within ActiveFor, an unmanaged record until it is deleted, a
// discovered server without an agent never.
func (s *Server) Active(now time.Time) bool {
	switch {
	case !s.DeletedAt.IsZero():
		return false
	case s.Managed:
		return now.Sub(s.LastSeen) < ActiveFor
	}
	return s.InstanceID == ""
}

// derive sets the fields that follow from the facts: the agent's word comes
// first, as it is the machine's own, then EC2's.
func (s *Server) derive(o AccountOptions) {
	s.Hostname, s.CanonicalName, s.AccessAddress, s.Bastion = "", "", "", ""
	if m := s.Facts.Manual; m != nil {
		s.Hostname, s.AccessAddress, s.Bastion = m.Hostname, m.AccessAddress, m.Bastion
	}
	if i := s.Facts.EC2; i != nil {
		s.Hostname = i.PrivateDNS
		s.AccessAddress = i.address(o.AddressPreference)
		if key, ok := strings.CutPrefix(o.CanonicalNameFrom, "tag:"); ok {
			s.CanonicalName = i.Tags[key]
		}
	}
	if a := s.Facts.Agent; a != nil {
		set := func(to *string, v string) {
			if v != "" {
				*to = v
			}
		}
		set(&s.Hostname, a.Hostname)
		set(&s.CanonicalName, a.CanonicalName)
		set(&s.AccessAddress, a.AccessAddress)
		set(&s.Bastion, a.Bastion)
	}
	if s.Hostname == "" {
		s.Hostname = s.InstanceID
	}
}

func (i *Instance) address(preference string) string {
	first, second := i.PrivateIP, i.PublicIP
	if preference == "public" {
		first, second = second, first
	}
	if first != "" {
		return first
	}
	return second
}

// AltNames are the other names by which the server is known.
func (s *Server) AltNames() []string {
	var names []string
	add := func(list ...string) {
		for _, n := range list {
			if n != "" && !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	if a := s.Facts.Agent; a != nil {
		add(a.AltNames...)
	}
	if m := s.Facts.Manual; m != nil {
		add(m.AltNames...)
	}
	add(s.InstanceID)
	if i := s.Facts.EC2; i != nil {
		add(i.PrivateDNS, i.PublicDNS)
	}
	return names
}

// OSType is linux, windows or empty where nothing says so.
func (s *Server) OSType() string {
	if a := s.Facts.Agent; a != nil && a.OSType != "" {
		return a.OSType
	}
	if i := s.Facts.EC2; i != nil {
		if i.Windows {
			return "windows"
		}
		return "linux"
	}
	return ""
}

// OS is the operating system's full name; only an agent knows it.
func (s *Server) OS() string {
	if a := s.Facts.Agent; a != nil {
		return a.OS
	}
	return ""
}

// Services are the ways to log in: ssh, rdp.
func (s *Server) Services() []string {
	if a := s.Facts.Agent; a != nil && len(a.Services) > 0 {
		return a.Services
	}
	if s.OSType() == "windows" {
		return []string{"rdp"}
	}
	return []string{"ssh"}
}

// Labels are all labels, prefixed with their source: system., aws.tag., agent.
// and api.
func (s *Server) Labels() map[string]string {
	l := map[string]string{}
	system := func(key, v string) {
		if v != "" {
			l["system."+key] = v
		}
	}
	system("hostname", s.Hostname)
	system("canonical_name", s.CanonicalName)
	system("os", s.OS())
	system("os_type", s.OSType())
	system("aws_account_id", s.AccountID)
	system("aws_region", s.Region)
	if s.AccountID != "" {
		system("cloud_provider", "aws")
	}
	if i := s.Facts.EC2; i != nil {
		system("aws_availability_zone", i.AvailabilityZone)
		for k, v := range i.Tags {
			l["aws.tag."+k] = v
		}
	}
	if a := s.Facts.Agent; a != nil {
		for k, v := range a.Labels {
			l["agent."+k] = v
		}
	}
	maps.Copy(l, s.APILabels)
	return l
}

// newerThan orders two servers that report the same address: AWS gives an
// address to a later launched instance only when the earlier one has lost it.
func (s *Server) newerThan(o *Server) bool {
	a, b := s.launched(), o.launched()
	if !a.Equal(b) {
		return a.After(b)
	}
	if !s.RegisteredAt.Equal(o.RegisteredAt) {
		return s.RegisteredAt.After(o.RegisteredAt)
	}
	return s.ID > o.ID
}

func (s *Server) launched() time.Time {
	if i := s.Facts.EC2; i != nil && !i.LaunchTime.IsZero() {
		return i.LaunchTime
	}
	return s.RegisteredAt
}

const (
	maxLabels     = 64
	maxLabelKey   = 128
	maxLabelValue = 256
)

// checkLabels refuses labels that are too many, too long, or another source's,
// and returns them with the api. prefix.
func checkLabels(labels map[string]string) (map[string]string, error) {
	if len(labels) > maxLabels {
		return nil, invalid("%d labels are more than the %d allowed.", len(labels), maxLabels)
	}
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		for _, other := range []string{"system.", "aws.", "agent."} {
			if strings.HasPrefix(k, other) {
				return nil, invalid("Label %q belongs to another source; labels set here begin with api.", k)
			}
		}
		name := strings.TrimPrefix(k, "api.")
		if name == "" || len(name) > maxLabelKey || strings.ContainsFunc(name, endsWord) {
			return nil, invalid("Label %q must be 1 to %d bytes without white space and any of = ! , ( ) \".", k, maxLabelKey)
		}
		if len(v) > maxLabelValue {
			return nil, invalid("The value of label %q is longer than %d bytes.", k, maxLabelValue)
		}
		if _, twice := out["api."+name]; twice {
			return nil, invalid("Label %q is there twice, with and without api.", name)
		}
		out["api."+name] = v
	}
	return out, nil
}

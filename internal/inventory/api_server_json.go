package inventory

import "time"

// serverJSON is a server as the API shows it. ASA: the fields up to labels, with
// their names; null where nothing is known.
type serverJSON struct {
	ID              string            `json:"id"`
	TeamName        string            `json:"team_name"`
	ProjectName     string            `json:"project_name"`
	Hostname        string            `json:"hostname"`
	CanonicalName   *string           `json:"canonical_name"`
	AltNames        []string          `json:"alt_names"`
	AccessAddress   *string           `json:"access_address"`
	Bastion         *string           `json:"bastion"`
	OS              *string           `json:"os"`
	OSType          *string           `json:"os_type"`
	Services        []string          `json:"services"`
	Managed         bool              `json:"managed"`
	State           string            `json:"state"`
	RegisteredAt    *time.Time        `json:"registered_at"`
	LastSeen        *time.Time        `json:"last_seen"`
	DeletedAt       *time.Time        `json:"deleted_at"`
	SFTDVersion     *string           `json:"sftd_version"`
	CloudProvider   *string           `json:"cloud_provider"`
	InstanceID      *string           `json:"instance_id"`
	InstanceDetails *detailsJSON      `json:"instance_details"`
	SSHHostKeys     []string          `json:"ssh_host_keys"`
	BrokerHostCerts []string          `json:"broker_host_certs"`
	Labels          map[string]string `json:"labels"`
}

// detailsJSON is what is known of the EC2 instance behind a server.
type detailsJSON struct {
	AccountID        string            `json:"account_id"`
	Region           string            `json:"region"`
	AvailabilityZone *string           `json:"availability_zone"`
	InstanceType     *string           `json:"instance_type"`
	ImageID          *string           `json:"image_id"`
	VPCID            *string           `json:"vpc_id"`
	SubnetID         *string           `json:"subnet_id"`
	PrivateIP        *string           `json:"private_ip"`
	PublicIP         *string           `json:"public_ip"`
	LaunchTime       *time.Time        `json:"launch_time"`
	Lifecycle        *string           `json:"lifecycle"`
	ASGName          *string           `json:"asg_name"`
	Tags             map[string]string `json:"tags"`
	EC2State         string            `json:"ec2_state"`
	DiscoveredBy     string            `json:"discovered_by"`
	FirstSeen        *time.Time        `json:"first_seen"`
	LastConfirmed    *time.Time        `json:"last_confirmed"`
	// Unconfirmed: no read has found the instance; an event was taken at its word.
	Unconfirmed bool `json:"unconfirmed"`
	// Orphaned: the cloud account is no longer connected to the project.
	Orphaned bool `json:"orphaned"`
	// AddressTakenBy is the server that has this one's address now.
	AddressTakenBy *string    `json:"address_taken_by"`
	AbsentSince    *time.Time `json:"absent_since"`
}

// teamName is the one team of an installation.
const teamName = "default"

func toServerJSON(s *Server, now time.Time) serverJSON {
	j := serverJSON{
		ID: s.ID, TeamName: teamName, ProjectName: s.ProjectName,
		Hostname: s.Hostname, CanonicalName: orNull(s.CanonicalName), AltNames: s.AltNames(),
		AccessAddress: orNull(s.AccessAddress), Bastion: orNull(s.Bastion),
		OS: orNull(s.OS()), OSType: orNull(s.OSType()), Services: s.Services(),
		Managed: s.Managed, State: "INACTIVE",
		RegisteredAt: timeOrNull(s.RegisteredAt), LastSeen: timeOrNull(s.LastSeen), DeletedAt: timeOrNull(s.DeletedAt),
		InstanceID: orNull(s.InstanceID), Labels: s.Labels(),
	}
	if s.Active(now) {
		j.State = "ACTIVE"
	}
	if a := s.Facts.Agent; a != nil {
		j.SFTDVersion, j.SSHHostKeys = orNull(a.Version), a.SSHHostKeys
	}
	if s.InstanceID != "" {
		j.CloudProvider = orNull("aws")
		j.InstanceDetails = toDetailsJSON(s)
	}
	return j
}

func toDetailsJSON(s *Server) *detailsJSON {
	d := &detailsJSON{
		AccountID: s.AccountID, Region: s.Region, EC2State: s.EC2State, DiscoveredBy: s.Facts.DiscoveredBy,
		FirstSeen: timeOrNull(s.ToldAt), LastConfirmed: timeOrNull(s.ConfirmedAt), Unconfirmed: s.unconfirmed(),
		Orphaned: s.Orphaned, AddressTakenBy: orNull(s.Facts.AddressTakenBy), AbsentSince: timeOrNull(s.AbsentSince),
		Tags: map[string]string{},
	}
	i := s.Facts.EC2
	if i == nil {
		return d
	}
	d.AvailabilityZone, d.InstanceType, d.ImageID = orNull(i.AvailabilityZone), orNull(i.Type), orNull(i.ImageID)
	d.VPCID, d.SubnetID = orNull(i.VPCID), orNull(i.SubnetID)
	d.PrivateIP, d.PublicIP = orNull(i.PrivateIP), orNull(i.PublicIP)
	d.LaunchTime = timeOrNull(i.LaunchTime)
	d.Lifecycle = orNull("on-demand")
	if i.Spot {
		d.Lifecycle = orNull("spot")
	}
	d.ASGName = orNull(i.Tags["aws:autoscaling:groupName"])
	if i.Tags != nil {
		d.Tags = i.Tags
	}
	return d
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// changeDetail is the detail of the event that tells of a change.
type changeDetail struct {
	Change string                 `json:"change"`
	Server serverJSON             `json:"server"`
	Fields map[string]FieldChange `json:"fields"`
	Cause  Cause                  `json:"cause"`
}

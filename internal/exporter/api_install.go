package exporter

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// registerInstall adds the routes of installations. Stacks are made with the server's own
// credentials, so they are for admins.
//
//	GET    /v1/exporter/accounts/{account}/install?region&stack_name&stack_id  how far it is
//	POST   …/install  {region, stack_name, stack_id, queue}  deploys the queue's stack, or goes on; with queue reads that one, and deploys nothing
//	DELETE …/install?region&stack_name&stack_id&discard  deletes the stack, or goes on; with discard=true also a queue that holds records
func (x *Exporter) registerInstall(rest register) {
	const path = pathAccount + "/install"
	rest("GET "+path, auth.Administer, x.serveInstallation)
	rest("POST "+path, auth.Administer, x.serveInstall)
	rest("DELETE "+path, auth.Administer, x.serveUninstall)
}

type installationJSON struct {
	Account     string  `json:"account"`
	Region      string  `json:"region"`
	StackName   *string `json:"stack_name"`
	StackID     *string `json:"stack_id"`
	State       string  `json:"state"`
	StackStatus *string `json:"stack_status"`
	Why         *string `json:"why"`
	QueueARN    *string `json:"queue_arn"`
	Export      *string `json:"export"`
}

func writeInstallation(w http.ResponseWriter, in *Installation) error {
	status := http.StatusOK
	if in.State == InstallDeploying || in.State == InstallRemoving {
		status = http.StatusAccepted
	}
	httpapi.JSON(w, status, installationJSON{
		Account: in.Account, Region: in.Region, StackName: orNull(in.Stack), StackID: orNull(in.StackID), State: string(in.State),
		StackStatus: orNull(in.StackStatus), Why: orNull(in.Why), QueueARN: orNull(in.QueueARN), Export: orNull(in.Export),
	})
	return nil
}

// placeOf reads a place from the parameters of a request, which may have others.
func placeOf(r *http.Request, others ...string) (Place, error) {
	known := append([]string{"region", "stack_name", "stack_id"}, others...)
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Place{}, httpapi.Invalid("The parameters of the request cannot be read: %v.", err)
	}
	for name := range q {
		if !slices.Contains(known, name) {
			return Place{}, httpapi.Invalid("Query parameter %q is not known here; the parameters are %s.", name, strings.Join(known, ", "))
		}
	}
	return Place{Account: r.PathValue("account"), Region: q.Get("region"), Stack: q.Get("stack_name"), StackID: q.Get("stack_id")}, nil
}

func (x *Exporter) serveInstallation(w http.ResponseWriter, r *http.Request) error {
	p, err := placeOf(r)
	if err != nil {
		return err
	}
	in, err := x.Installation(r.Context(), p)
	if err != nil {
		return err
	}
	return writeInstallation(w, &in)
}

func (x *Exporter) serveInstall(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Region    string `json:"region"`
		StackName string `json:"stack_name"`
		StackID   string `json:"stack_id"`
		Queue     string `json:"queue"`
	}
	if err := httpapi.Decode(w, r, &body, 0); err != nil {
		return err
	}
	p := Place{Account: r.PathValue("account"), Region: body.Region, Stack: body.StackName, StackID: body.StackID}
	if body.Queue != "" {
		if body.StackName != "" || body.StackID != "" {
			return httpapi.Invalid("queue is read as it is and no stack is deployed: leave stack_name and stack_id out, or queue.")
		}
		in, err := x.InstallQueue(r.Context(), p.Account, p.Region, body.Queue)
		if err != nil {
			return err
		}
		return writeInstallation(w, &in)
	}
	in, err := x.Install(r.Context(), p)
	if err != nil {
		return err
	}
	return writeInstallation(w, &in)
}

func (x *Exporter) serveUninstall(w http.ResponseWriter, r *http.Request) error {
	p, err := placeOf(r, "discard")
	if err != nil {
		return err
	}
	discard := r.URL.Query().Get("discard")
	if discard != "" && discard != "true" && discard != "false" {
		return httpapi.Invalid("discard is %q; it must be true or false.", discard)
	}
	in, err := x.Uninstall(r.Context(), p, discard == "true")
	if err != nil {
		return err
	}
	return writeInstallation(w, &in)
}

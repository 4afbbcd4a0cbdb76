package awsapi

import (
	"reflect"

	"github.com/rialto-bus/rialto/internal/event"
)

// ec2Removed is EC2's word for a secret text.
const ec2Removed = "<sensitiveDataRemoved>"

// ec2Sets are the names of lists in EC2's requests that are not made of the name of one item, as
// tagSet is.
var ec2Sets = map[string]string{
	"InstanceId":         "instancesSet",
	"ResourceId":         "resourcesSet",
	"RegionName":         "regionSet",
	"BlockDeviceMapping": "blockDeviceMapping",
}

// ec2Launch are the parameters of RunInstances that its record has inside of instancesSet, and
// ec2Groups those that are one groupSet, with their names there.
var (
	ec2Launch = map[string]bool{"ImageId": true, "MinCount": true, "MaxCount": true, "KeyName": true}
	ec2Groups = map[string]string{"SecurityGroupIds": "groupId", "SecurityGroups": "groupName"}
)

// ec2Parameters writes a request to EC2 as CloudTrail does: lists are sets of items.
func ec2Parameters(op *Operation, v reflect.Value) []byte {
	d, launch, groups := object{b: []byte{'{'}}, object{b: []byte{'{'}}, []byte(nil)
	for i := range op.Input.Members {
		m, field := &op.Input.Members[i], v.Field(i)
		switch {
		case absent(field):
		case op.Name == "RunInstances" && ec2Launch[m.Name]:
			launch.raw(lowerFirst(m.Name), trailJSON{}.value(nil, m.Shape, field))
		case op.Name == "RunInstances" && ec2Groups[m.Name] != "":
			for i := range field.Len() {
				if groups != nil {
					groups = append(groups, ',')
				}
				groups = append(groups, ec2Item(ec2Groups[m.Name], field.Index(i).String())...)
			}
		default:
			ec2Member(&d, m, field)
		}
	}
	if op.Name == "RunInstances" {
		d.raw("instancesSet", []byte(`{"items":[`+string(launch.end())+`]}`))
	}
	if groups != nil {
		d.raw("groupSet", []byte(`{"items":[`+string(groups)+`]}`))
	}
	return d.end()
}

func ec2Item(name, value string) []byte {
	d := object{b: []byte{'{'}}
	d.text(name, value)
	return d.end()
}

// ec2Member adds a member of a request.
func ec2Member(d *object, m *Member, v reflect.Value) {
	if m.Shape.Kind != List {
		d.raw(lowerFirst(m.Name), ec2Value(m.Shape, v))
		return
	}
	name, item := lowerFirst(m.InName())+"Set", lowerFirst(m.InName())
	if set := ec2Sets[m.InName()]; set != "" {
		name = set
	}
	items := []byte{'['}
	for i := range v.Len() {
		if i > 0 {
			items = append(items, ',')
		}
		if m.Shape.Elem.Kind == String {
			items = append(items, ec2Item(item, v.Index(i).String())...)
			continue
		}
		items = append(items, ec2Value(m.Shape.Elem, v.Index(i))...)
	}
	items = append(items, ']')
	d.raw(name, append(append([]byte(`{"items":`), items...), '}'))
}

// ec2Value writes a value of a request that is no list.
func ec2Value(shape *Shape, v reflect.Value) []byte {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if shape.Sensitive {
		return event.AppendText(nil, ec2Removed)
	}
	if shape.Kind != Structure {
		return trailJSON{ec2: true}.value(nil, shape, v)
	}
	d := object{b: []byte{'{'}}
	for i := range shape.Members {
		m, field := &shape.Members[i], v.Field(i)
		switch {
		case absent(field):
		case shape.Name == "TagSpecification" && m.Name == "Tags": // the one list that is a list
			d.raw("tags", trailJSON{}.value(nil, m.Shape, field))
		default:
			ec2Member(&d, m, field)
		}
	}
	return d.end()
}

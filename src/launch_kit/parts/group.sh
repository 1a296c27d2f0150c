
read_group() {
  # The tag is there where the launch template allows tags in instance metadata (InstanceMetadataTags: enabled).
  GROUP=$(metadata 'meta-data/tags/instance/aws:autoscaling:groupName')
}
[ -n "$GROUP" ] || until_done "asking for the group's name (allow tags in instance metadata, or print the kit with --group)" read_group

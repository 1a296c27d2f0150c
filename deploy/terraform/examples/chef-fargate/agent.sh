printf "%s\n" "chef_server_url \"https://chef.example.com/organizations/prod\"" "node_name \"$NODE_NAME\"" "client_key \"$PRIVATE_KEY\"" >/etc/chef/client.rb &&
chef-client --once --chef-license accept-silent &&
chef-client --daemonize --interval 1800 --splay 300

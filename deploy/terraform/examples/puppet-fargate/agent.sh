server=https://puppet.example.com:8140
server=${server#https://}
chown -R puppet: "$SSL_DIR" 2>/dev/null
puppet config set --section main server "${server%%[:/]*}" && puppet config set --section main certname "$NODE_NAME" || exit
puppet agent --onetime --no-daemonize --detailed-exitcodes || [ $? -eq 2 ] || exit
systemctl enable --now puppet


# What the agent's command may need; the vendors' packages put their programs there. What it writes is not to be as closed as the key.
export NODE_NAME PRIVATE_KEY
export PATH="$PATH:/opt/puppetlabs/bin:/opt/chef/bin"
umask "$MASK"
run_agent() {
  code=0
  sh -c "$AGENT" || code=$?
  case " $AGENT_IS_WELL " in
    *" $code "*) return 0 ;;
  esac
  say "the agent ended with $code"
  return 1
}
until_done "the agent's first run" run_agent
say 'the agent has run'

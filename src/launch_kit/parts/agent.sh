
# What the agent's command may need.
export NODE_NAME PRIVATE_KEY
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

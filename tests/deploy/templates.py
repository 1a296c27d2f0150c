"""What a CloudFormation template says once its parameters are known: as much of the functions as the templates here use."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "cloudformation"
ACCOUNT, REGION = "123456789012", "eu-central-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "stack",
}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """YAML with the short forms of functions."""


def function(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


Loader.add_multi_constructor("!", function)


def read(name: str) -> dict:
    # The templates hold no anchors, which CloudFormation does not take.
    return yaml.load((FOLDER / name).read_text(), Loader)  # noqa: S506 (a SafeLoader)


@dataclass
class Stack:
    """A template with its parameters: `known` has what its resources would be, by "Name" and "Name.Attribute"."""

    name: str
    parameters: dict = field(default_factory=dict)
    known: dict = field(default_factory=dict)
    imports: dict = field(default_factory=dict)

    def __post_init__(self):
        self.template = read(self.name)
        unknown = set(self.parameters) - set(self.template["Parameters"])
        assert not unknown, f"{self.name} has no parameters {unknown}"

    def parameter(self, name):
        defined = self.template["Parameters"][name]
        value = self.parameters.get(name, defined.get("Default"))
        assert value is not None, f"{self.name} wants the parameter {name}"
        if defined["Type"].startswith(("List", "CommaDelimited")) and isinstance(value, str):
            return value.split(",")
        return value

    def ref(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.template["Parameters"]:
            return self.parameter(name)
        assert name in self.template["Resources"], f"{self.name} has no {name}"
        return self.known.get(name, f"<{name}>")

    def attribute(self, resource, attribute):
        assert resource in self.template["Resources"], f"{self.name} has no {resource}"
        return self.known.get(f"{resource}.{attribute}", f"<{resource}.{attribute}>")

    def condition(self, name) -> bool:
        return self.decide(self.template["Conditions"][name])

    def decide(self, expression) -> bool:
        ((name, value),) = expression.items()
        match name:
            case "Condition":
                return self.condition(value)
            case "Fn::Not":
                return not self.decide(value[0])
            case "Fn::And":
                return all(self.decide(one) for one in value)
            case "Fn::Equals":
                left, right = (self.resolve(one) for one in value)
                return str(left) == str(right)
        raise AssertionError(f"{self.name}: a condition of {name}")

    def substitute(self, value):
        text, more = value if isinstance(value, list) else (value, {})
        more = {name: self.resolve(one) for name, one in more.items()}

        def one(found):
            name = found[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in more:
                return str(more[name])
            return str(self.attribute(*name.split(".", 1)) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def resolve(self, value):
        if isinstance(value, list):
            return [one for one in map(self.resolve, value) if one is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            match name:
                case "Ref":
                    return self.ref(argument)
                case "Fn::GetAtt":
                    return self.attribute(*argument)
                case "Fn::Sub":
                    return self.substitute(argument)
                case "Fn::Join":
                    return argument[0].join(str(one) for one in self.resolve(argument[1]))
                case "Fn::Split":
                    return self.resolve(argument[1]).split(argument[0])
                case "Fn::Select":
                    return self.resolve(argument[1])[int(argument[0])]
                case "Fn::If":
                    return self.resolve(argument[1] if self.condition(argument[0]) else argument[2])
                case "Fn::ImportValue":
                    return self.imports[self.resolve(argument)]
                case "Fn::Base64":
                    return self.resolve(argument)
        assert not any(name.startswith("Fn::") for name in value), f"{self.name}: a function that is not known here: {list(value)}"
        resolved = {name: self.resolve(one) for name, one in value.items()}
        return {name: one for name, one in resolved.items() if one is not NOTHING}

    def refusals(self) -> list:
        """The rules that these parameters break, before anything is made."""
        broken = []
        for rule in self.template.get("Rules", {}).values():
            if "RuleCondition" not in rule or self.decide(rule["RuleCondition"]):
                broken += [one["AssertDescription"] for one in rule["Assertions"] if not self.decide(one["Assert"])]
        return broken

    def resource(self, name) -> dict:
        resource = self.template["Resources"][name]
        assert "Condition" not in resource or self.condition(resource["Condition"]), f"{name} is not made"
        return self.resolve(resource["Properties"])

    def resources(self, kind) -> dict:
        """The resources of a type that are made, with their properties."""
        found = {name: one for name, one in self.template["Resources"].items() if one["Type"] == kind}
        return {name: self.resource(name) for name, one in found.items() if "Condition" not in one or self.condition(one["Condition"])}

    def exports(self) -> dict:
        made = [one for one in self.template["Outputs"].values() if "Condition" not in one or self.condition(one["Condition"])]
        return {self.resolve(one["Export"]["Name"]): self.resolve(one["Value"]) for one in made if "Export" in one}


def queue_stack(**parameters) -> Stack:
    """The queue's stack, as it would stand in an account."""
    name = parameters.get("QueueName", "enrolld")
    known = {}
    for resource, queue in (("Queue", name), ("DeadLetters", f"{name}-dead-letters")):
        known[resource] = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{queue}"
        known[f"{resource}.Arn"] = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
        known[f"{resource}.QueueName"] = queue
    known["Topic"] = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}"
    known["PrintKey"] = f"{name}-print-key"
    known["NotificationRole.Arn"] = f"arn:aws:iam::{ACCOUNT}:role/notify"
    return Stack("queue.yaml", parameters, known)


def imports_of(stack: Stack, called: str = "enrolld-queue") -> dict:
    return {name.replace(PSEUDO["AWS::StackName"], called, 1): value for name, value in stack.exports().items()}


ROLE = f"arn:aws:iam::{ACCOUNT}:role/web-instances"
NETWORK = {"VpcId": "vpc-0123456789abcdef0", "SubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1"}
REGISTRARS = {
    "chef-server": {"RegistrarSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:chef-AbCdEf"},
    "puppet-ca": {
        "RegistrarSecretArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:puppet-AbCdEf",
        "ServerUrl": "https://puppet.example.com:8140",
        "ServerPort": 8140,
    },
    "opsworks-cm": {},
}


def daemon_stack(registrar: str, imports: dict | None = None, **parameters) -> Stack:
    given = {"Registrar": registrar, "Image": "enrolld", "InstanceRoleArn": ROLE, **NETWORK, **REGISTRARS[registrar], **parameters}
    return Stack("daemon-ecs.yaml", given, imports=imports or imports_of(queue_stack(RunCommand="puppet" if registrar == "puppet-ca" else "chef")))


def group_stack(engine: str = "chef", notification: str = "HookTarget", **parameters) -> Stack:
    given = {"Engine": engine, "Notification": notification, "SubnetIds": NETWORK["SubnetIds"], "SecurityGroupIds": "sg-0123456789abcdef0"}
    return Stack("group-example.yaml", given | parameters, imports=imports_of(queue_stack(Notification=notification)))


def other_stack(registrar: str = "chef-server", **parameters) -> Stack:
    """What another account has: the daemon and its queue are elsewhere."""
    here = {"QueueArn": f"arn:aws:sqs:{REGION}:210987654321:enrolld", "DaemonRoleArn": "arn:aws:iam::210987654321:role/enrolld", "ExternalId": "0d0c4f2e"}
    return Stack("other-account.yaml", here | {"Registrar": registrar} | parameters)


def container(stack: Stack, name: str) -> dict:
    (found,) = [one for one in stack.resource("TaskDefinition")["ContainerDefinitions"] if one["Name"] == name]
    return found


def environment(of: dict) -> dict:
    return {one["Name"]: one["Value"] for one in of.get("Environment", [])}

//! Prints the JSON Schema of policies, which is committed as `schema/policy.schema.json`.

fn main() -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string_pretty(&net_policy::policy_schema())?);
    Ok(())
}
